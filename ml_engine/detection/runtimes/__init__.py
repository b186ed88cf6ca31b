"""Runtimes of networks, torch and OpenVINO, and the reading of checkpoints and outputs."""
