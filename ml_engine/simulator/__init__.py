"""Simulated herds, cameras and detectors, without pixels."""
