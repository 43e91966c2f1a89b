"""Dictionaries of a layer: directions found over a data set, and what chance would have found."""
