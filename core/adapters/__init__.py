"""One SDK each. SDK errors are mapped to core.errors here and nowhere else."""
