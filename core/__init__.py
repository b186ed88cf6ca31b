"""Shared and light: domain types, ports, use cases, adapters, settings. No torch, no OpenCV."""
