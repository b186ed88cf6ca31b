"""The consumer: receive, handle, settle. Imports core and ml_engine."""
