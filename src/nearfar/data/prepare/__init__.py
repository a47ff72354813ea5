"""Data made of other data: reductions, triplets, filters."""
