"""Saves work safely: files and folders that appear only when complete, resumable work, locks, and provenance of results."""
