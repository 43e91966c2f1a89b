"""Metrics of maps that run the model: whether the model's output changes as a map says.

evaluating  `evaluate`: metrics by name
curves      deletion and insertion, and the settings with which maps are compared
"""
