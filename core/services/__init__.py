"""Use cases. They name ports only; bootstrap hands them the adapters."""
