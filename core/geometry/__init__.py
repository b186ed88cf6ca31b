"""Geometry: calibrations, homographies and geodesy."""
