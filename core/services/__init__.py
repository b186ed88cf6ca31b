"""Use cases. They know ports only; bootstrap passes in the adapters."""
