"""Counting: numbers of animals, their bounds and reasons, lines and zones."""
