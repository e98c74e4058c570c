"""What the retrieval experiment consists of."""
