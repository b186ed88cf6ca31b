"""Use cases that take in videos and what belongs to them."""
