"""Contributions: how much each value moved the score away from its reference."""
