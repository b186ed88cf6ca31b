"""The worker: receives messages, runs the steps of jobs and settles the messages."""
