"""A circuit as a page to click through, and as JSON for other programs."""

from tapetum.reports.circuits.page import content, write_circuit

__all__ = ["content", "write_circuit"]
