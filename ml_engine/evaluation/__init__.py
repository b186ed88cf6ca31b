"""Figures against the truth: detectors, trackers and counts, on what people annotated and on
simulated scenes.
"""
