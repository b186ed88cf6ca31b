"""Use cases that start, end and send the steps of an attempt."""
