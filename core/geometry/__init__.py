"""Calibrations, homographies and geodesy."""
