"""Detection: boxes, classes and scores of single frames, and the log that stores them."""
