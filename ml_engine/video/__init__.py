"""Video files: what they hold, their frames and times, and writing one."""
