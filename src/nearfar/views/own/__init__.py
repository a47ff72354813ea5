"""Views of the user's own: a function of a batch, or transforms of a sample at a time."""
