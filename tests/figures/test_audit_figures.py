"""Figures of audits: a row per cue, what was found in colour, and pictures before and after."""

from dataclasses import replace

import numpy as np
from cheats import SIDE, accused

import tapetum as tp
from tapetum.figures.audits import MOST, ROWS, short
from tapetum.figures.theme import LIGHT


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_each_cue_has_a_row_and_what_was_found_is_filled_and_named():
    found = accused()
    figure = tp.draw(found)
    strip = figure.axes[0]
    assert [label.get_text() for label in strip.get_yticklabels()] == list(found.effects)
    filled = [line for line in strip.lines if line.get_marker() == "o" and line.get_markerfacecolor() == LIGHT.accent]
    marked = {(int(y), round(float(x), 3)) for line in filled for x, y in zip(*line.get_data(), strict=True)}
    row = list(found.effects).index("border")
    assert marked == {(row, round(100 * float(one.effect), 3)) for one in found.suspicions}
    assert any("bright" in text and "dark" in text for text in words(strip))


def test_an_audit_without_suspicions_is_the_strip_alone():
    found = accused()
    figure = tp.draw(replace(found, suspicions=()))
    assert len(figure.axes) == 1
    assert "no shortcut found" in figure.title


def test_pictures_stand_above_the_same_with_the_cue_moved():
    found = accused()
    one = found.suspicions[0]
    figure = tp.draw(one)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == min(len(one.examples), MOST)
    drawn = shown[0].images[0].get_array()
    assert np.allclose(drawn[:SIDE], one.before[0].movedim(0, -1).numpy())
    assert np.allclose(drawn[-SIDE:], one.after[0].movedim(0, -1).numpy())
    before, after = one.chances[0].tolist()
    assert shown[0].get_xlabel() == f"{before:.0%} → {after:.0%}\nfrom {short(one.givers[0])}"
    of_all = [axes for axes in tp.draw(found).axes if axes.images]
    assert len(of_all) == 6 * min(ROWS, len(found.suspicions))


def test_a_long_name_keeps_its_end():
    assert short("bright/07.png") == "07.png"
    assert short("a/" + "x" * 30 + "_1234.png").endswith("_1234.png")
    assert len(short("a/" + "x" * 30 + "_1234.png")) == 22
