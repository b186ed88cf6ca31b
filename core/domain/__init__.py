"""The domain: jobs, messages, settings of an analysis, results.

Uses the standard library and pydantic only.
"""
