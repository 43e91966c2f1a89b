"""Keeps work: files and folders that appear whole, work that goes on after an interruption, and where a result came from."""
