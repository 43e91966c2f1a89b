"""Vocabulary of torch operations: their names, what they do, one call, and a mode that follows them."""
