"""What the stores of several databases have in common."""
