"""Video files: their contents, frames and times, and writing one."""
