"""Checks and converts what users give, once, and registers methods: bodies below get a score and images that are right."""
