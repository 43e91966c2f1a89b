"""The mark of results that have a figure."""


class Drawable:
    """A result that has a figure: `draw` knows it, and notebooks show it."""
