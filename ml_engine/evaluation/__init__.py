"""Accuracy of detectors, trackers and counts, on annotated data and on simulated scenes."""
