"""Use cases that start, end and dispatch the steps of an attempt."""
