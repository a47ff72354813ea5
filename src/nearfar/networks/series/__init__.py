"""Networks over embeddings of series."""
