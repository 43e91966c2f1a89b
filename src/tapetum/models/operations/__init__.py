"""Describes torch operations: their names, their kinds, one call of an operation, and a mode that follows all calls."""
