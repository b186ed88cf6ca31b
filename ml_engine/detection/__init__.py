"""Boxes, classes and scores of single frames, and the log that keeps them."""
