"""The microscope for a model: an atlas of all its units over a data set, written as a static site."""
