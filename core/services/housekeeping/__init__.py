"""What is cleared, kept and found again."""
