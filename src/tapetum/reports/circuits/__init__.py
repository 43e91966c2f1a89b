"""A circuit as a page to click through, and as JSON for other programs."""

from tapetum.reports.circuits.page import content, target_of, write_circuit

__all__ = ["content", "target_of", "write_circuit"]
