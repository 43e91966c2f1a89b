"""Audits: cues beside the object that a classifier follows, shown by experiments, with a receipt."""
