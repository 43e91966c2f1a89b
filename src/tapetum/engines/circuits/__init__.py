"""Circuits: how much one unit of a network does to another, directly, with everything between them held where it was."""
