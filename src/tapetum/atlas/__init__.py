"""Builds an atlas, a microscope for a model: all its units over a data set, written as a static site."""
