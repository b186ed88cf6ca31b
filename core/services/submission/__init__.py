"""Use cases that accept videos and the files that accompany them."""
