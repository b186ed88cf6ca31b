"""Ground: positions on the ground, in metres and degrees."""
