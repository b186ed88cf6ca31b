"""Shared code without torch or OpenCV: domain types, ports, use cases, adapters, settings."""
