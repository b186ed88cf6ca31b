"""What runs a network: torch or OpenVINO, and what both need to read a checkpoint and its outputs."""
