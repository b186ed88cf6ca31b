"""Housekeeping: retention, deletion, recovery, and checks of the storage."""
