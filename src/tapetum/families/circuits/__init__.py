"""Circuits: the nodes and edges that make a score, measured, judged by taking them away, and tested."""
