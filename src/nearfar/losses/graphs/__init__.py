"""Losses of graphs: shared terms, pruning, weighted negatives, meta-nodes."""
