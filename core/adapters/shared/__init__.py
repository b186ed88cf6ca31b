"""Code that the stores of several databases share."""
