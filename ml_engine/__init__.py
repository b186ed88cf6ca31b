"""Pixels in, detections out; detections in, counts out. Runs without any service."""
