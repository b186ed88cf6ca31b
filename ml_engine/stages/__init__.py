"""The four stages of a job, named as the worker's handlers are."""
