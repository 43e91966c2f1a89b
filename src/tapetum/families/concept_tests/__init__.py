"""Concepts that are put to a test: does a layer know them, does an answer depend on them, is a decision usual for its class."""
