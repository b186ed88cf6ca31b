"""`make chaos`: workers are killed at random moments while they count short recordings.

Nothing may be lost, doubled or different.
"""
