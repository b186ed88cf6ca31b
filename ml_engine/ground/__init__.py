"""Places on the ground, in metres and degrees."""
