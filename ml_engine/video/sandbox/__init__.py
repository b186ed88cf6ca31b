"""The confined child process that decodes uploaded videos."""
