"""What to do after a run."""
