"""Models: any PyTorch vision network with the preprocessing and the names that belong to it."""
