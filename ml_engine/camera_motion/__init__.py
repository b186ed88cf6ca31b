"""How the camera moved between frames, and the path that follows."""
