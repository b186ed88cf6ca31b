"""Adapters for Azure Blob and Queue Storage, or Azurite."""
