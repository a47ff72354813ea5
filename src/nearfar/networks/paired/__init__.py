"""Networks over two embeddings of one sample."""
