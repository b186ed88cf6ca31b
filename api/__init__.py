"""The producer: HTTP, WebSocket. Imports core only."""
