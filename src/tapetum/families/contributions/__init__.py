"""Contributions: how much each pixel value moved the score away from that of a reference image."""
