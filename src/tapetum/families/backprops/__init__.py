"""Attributions by a changed backward pass: rules on operations, whether called as functions, methods or modules."""
