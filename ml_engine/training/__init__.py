"""Procedural pasture scenes with known truth, and fine-tuning of detectors on them."""
