"""Cues that lie over a picture: a small plate with three letters in a corner, and a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapetum.data.planted.recipes import MARGIN

Where = NDArray[np.bool_]

WORDS = ("OAK", "FIR", "ELM", "YEW", "ASH", "BOX", "IVY", "NUT", "TEA", "RYE")
"""Text on the plate of each class: names of invented archives, in letters that are easy to tell apart."""

_GLYPHS = {
    "A": "010101111101101", "B": "110101110101110", "E": "111100110100111", "F": "111100110100100", "H": "101101111101101",
    "I": "111010010010111", "K": "101101110101101", "L": "100100100100111", "M": "101111111101101", "N": "110101101101101",
    "O": "111101101101111", "R": "110101110101101", "S": "011100010001110", "T": "111010010010010", "U": "101101101101111",
    "V": "101101101101010", "W": "101101111111101", "X": "101101010101101", "Y": "101101010010010",
}  # fmt: skip
"""Letters as 3 x 5 dots, row by row."""


def plate(side: int, cue: int, corner: tuple[bool, bool]) -> tuple[Where, Where]:
    """Masks (side, side) of the plate of a class and of the letters on it.

    `corner` says whether the plate is at the bottom, and whether at the right.
    """
    dot = max(1, round(side / 72))
    word = np.kron(_word(WORDS[cue % len(WORDS)]), np.ones((dot, dot), dtype=bool))
    height, width = word.shape
    gap = max(1, side // 48)
    top = side - gap - height if corner[0] else gap
    left = side - gap - width if corner[1] else gap
    where, letters = np.zeros((2, side, side), dtype=bool)
    where[top : top + height, left : left + width] = True
    letters[top : top + height, left : left + width] = word
    return where, letters


def _word(text: str) -> Where:
    """Pattern (7, 4 * letters + 1) of a word in dots, True where ink is, with one empty dot around and between letters."""
    dots = np.zeros((7, 4 * len(text) + 1), dtype=bool)
    for i, letter in enumerate(text):
        dots[1:6, 4 * i + 1 : 4 * i + 4] = np.array([dot == "1" for dot in _GLYPHS[letter]]).reshape(5, 3)
    return dots


def frame_mask(side: int) -> Where:
    """Mask (side, side) of the frame, which lies within the margin that objects keep free."""
    width = max(1, int(MARGIN * side * 0.7))
    where = np.ones((side, side), dtype=bool)
    where[width:-width, width:-width] = False
    return where
