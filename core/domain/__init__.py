"""What Muster talks about: jobs, messages, settings of an analysis, results.

Standard library and pydantic only.
"""
