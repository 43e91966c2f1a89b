"""Each sentence appears exactly when its numbers carry it."""

from typing import Any

import pytest
import torch

from tapetum.families.comparisons import overlap
from tapetum.reports.findings import findings
from tapetum.types import Attribution, Number, Prediction, Provenance
from tapetum.types.explanations import Explanation, Judged, Question
from tapetum.types.verdicts import Verdict

SIDE = 28
PROVENANCE = Provenance("m", {}, ("cat",), "tiny", "ab", "cd", 0, "cpu", "float32", {}, "now", 0.1)


def block(rows, columns):
    """A map that is 1 in a rectangle and fades outside, so that its top fifth is known."""
    values = torch.zeros(SIDE, SIDE)
    values[rows, columns] = 1
    return values


LEFT = block(slice(None), slice(0, 6))  # 3 of 14 columns of cells: a bit more than the top fifth
RIGHT = block(slice(None), slice(22, None))
HALFWAY = block(slice(None), slice(2, 8))  # shares 2 of 3 columns of cells with LEFT


def claiming(first):
    """A map whose top fifth is 39 of the 196 cells of 2 px in reading order, from that one on."""
    cells = torch.zeros(196)
    cells[first : first + 39] = 1
    return cells.view(14, 14).repeat_interleave(2, 0).repeat_interleave(2, 1)


def sharing(cells):
    """Two maps with that many of their 39 cells in common."""
    return claiming(0), claiming(39 - cells)


def judged(
    title, faithfulness=0.3, values=LEFT, *, outcome="stands", overlap=None, baseline=False, status="ok", layer=None,
    reduce="positive", whole=0.7, hidden=(0.0, 0.0),
):  # fmt: skip
    # a slight slope makes the order of equal cells the same in every map
    slope = torch.arange(SIDE * SIDE).view(SIDE, SIDE) * -1e-6
    attribution = Attribution(
        values=(values + slope)[None, None], method=title, status=(status,), target=("cat",), size=(SIDE, SIDE), reduce=reduce,
        layer=layer,
    )  # fmt: skip
    evidence = {} if faithfulness is None else {"deletion": 0.1, "insertion": 0.1 + faithfulness, "faithfulness": faithfulness}
    outcome = outcome if status == "ok" else status
    null, left = torch.linspace(-0.5, 0.5, 100), dict(zip(("blur", "zero"), hidden, strict=True))
    verdict = Verdict(title, "cat", 0, outcome, faithfulness or 0.0, 0.01, null, 0.105, -0.2, whole, left, tried=7)
    known = None if baseline or faithfulness is None else verdict
    return Judged(attribution, title, "Shows.", 0.1, evidence, {}, baseline, PROVENANCE, known, overlap)


RANDOM, EDGE = judged("random", 0.05, baseline=True), judged("edge", 0.1, baseline=True)


def question(*maps, target="cat", role="predicted", refused=None):
    return Question(target, 0, 0.7, role, maps, refused or {})


def told(*questions, predictions=((0, "cat", 0.7), (1, "dog", 0.2)), kind="classes"):
    picture = torch.zeros(1, 3, SIDE, SIDE)
    answers = tuple((Number if kind == "numbers" else Prediction)(*one) for one in predictions)
    return findings(Explanation("cat.png", picture, picture, "all of it", answers, (), questions, (), answer=kind))


def about(lines, words):
    return [line for line in lines if words in line]


def test_the_answer_comes_first() -> None:
    assert told(question())[0] == "The model answers 'cat' (70 %); next is 'dog' (20 %)."
    assert "(over 99 %); next is 'dog' (under 1 %)." in told(question(), predictions=[(0, "cat", 0.999), (1, "dog", 0.001)])[0]


@pytest.mark.parametrize(("second", "close"), [(0.2, False), (0.3, False), (0.31, True)])
def test_a_close_second_is_said_to_be_close(second: float, close: bool) -> None:
    predictions = [(0, "cat", 0.6), (1, "dog", second)]
    one = told(question(), predictions=predictions)[0]
    assert ("more than half as probable" in one) == close
    assert "both explanations" not in one  # there is one
    two = told(question(), question(target="dog"), predictions=predictions)[0]
    assert ("read both explanations" in two) == close


BENIGN = [(1, "malignant", 0.98), (0, "benign", 0.02)]
PETS = [(0, "cat", 0.95), (1, "dog", 0.94), (2, "car", 0.05)]


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("binary", [(3, None, 1.0)], "The model gives class 3 a probability of 100 %."),
        ("binary", BENIGN, "The model answers 'malignant' (98 %) rather than 'benign' (2 %)."),
        ("labels", PETS, "The model finds 'cat' (95 %) and 'dog' (94 %); it judges each label for itself."),
        ("labels", [(2, "car", 0.3), (0, "cat", 0.1)], "The model finds none of its labels; nearest is 'car' (30 %)."),
        ("numbers", [(0, None, 58.21)], "The model gives 58.2 for output 0."),
        ("numbers", [(0, "x", -1250.4), (1, "y", 0.03125)], "The model gives −1,250 for 'x', 0.0312 for 'y'."),
    ],
)
def test_the_answer_is_told_in_the_words_of_its_outputs(kind: str, answer: Any, words: str) -> None:
    assert told(question(), predictions=answer, kind=kind)[0] == words


def test_the_leading_map_is_named_with_its_place_in_the_picture_and_among_random_maps() -> None:
    lines = told(question(judged("good", 0.4), judged("fair", 0.2, RIGHT), judged("poor", 0.1, outcome="random"), RANDOM, EDGE))
    (best,) = about(lines, "stands up best")
    assert best.startswith("For 'cat', good stands up best: its evidence peaks at the ")
    assert "left of the picture. It is better than 90 of 100 random maps; the edges: 60, a blob in the middle: 30." in best
    assert best.endswith("2 of 7 maps stand up.")


def test_the_best_is_the_most_faithful_that_stands_up_whatever_the_order() -> None:
    maps = (RANDOM, judged("fair", 0.2), judged("good", 0.4), judged("lucky", 0.9, outcome="centre"))
    assert about(told(question(*maps)), "good stands up best")


def test_maps_that_do_not_stand_up_are_not_to_be_relied_on() -> None:
    maps = (judged("a", 0.3, outcome="random"), judged("b", 0.2, outcome="random"), judged("c", outcome="edges"), RANDOM)
    lines = told(question(*maps))
    assert about(lines, (
        "No map of 'cat' stands up: 2 are no better than random maps and 1 is no better than the image's edges. Do not rely on"
    ))  # fmt: skip
    assert not about(lines, "stands up best")
    assert not about(lines, "two best maps")


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        ((0.69, 0.68), ["69 % under a blur and 68 % under zero (whole: 70 %)", "no place of this picture was needed"]),
        (
            (0.69, 0.01),
            ["69 % under a blur and 1 % under zero", "any place. Colour or coarse tone is enough; no map is ranked."],
        ),
    ],
)
def test_that_hiding_everything_changes_nothing_is_the_first_finding_and_no_map_is_ranked(hidden: Any, words: str) -> None:
    maps = [judged(name, 0.4, outcome="no_range", hidden=hidden) for name in ("a", "b")]
    lines = told(question(*maps, RANDOM))
    assert lines[0].startswith("Hiding the whole picture leaves 'cat' at ")
    assert all(some in lines[0] for some in words)
    assert lines[1].startswith("The model answers 'cat'")
    assert not about(lines, "stands up")
    assert not about(lines, "stand up")


def test_a_target_that_is_too_improbable_says_so_instead_of_a_verdict() -> None:
    lines = told(question(judged("a", 0.4, outcome="improbable"), RANDOM))
    assert about(lines, "'cat' has a probability of 70 %, too small to fall when places are hidden: its maps are not judged.")
    assert not about(lines, "stand")


def test_a_map_that_hardly_depends_on_the_class_never_leads_and_is_no_reason() -> None:
    lines = told(question(judged("same", 0.9, overlap=0.95), judged("good", 0.4, overlap=0.1), RANDOM))
    assert about(lines, "good stands up best")
    assert about(lines, "Not a reason for 'cat': same (95 %) points to the same place for an unlikely class")
    alone = told(question(judged("same", 0.9, overlap=0.95), RANDOM))
    assert about(alone, "No map of 'cat' that depends on the class stands up (only same). Do not rely on them.")
    assert not about(alone, "stands up best")


def test_an_answer_that_is_split_among_near_classes_is_told_with_their_sum() -> None:
    lines = told(question(), question(target="cat or lynx", role="near classes together"))
    assert lines[1] == (
        "The answer is split among classes that this network hardly tells apart: cat or lynx together have 70 %."
    )


def test_without_measured_evidence_nothing_is_said_about_it() -> None:
    lines = told(question(judged("a", None), judged("b", None), judged("random", None, baseline=True)))
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("common", "verdict"),
    [
        (39, "agree: 100 %"),
        (20, "agree: 51 %"),
        (19, "agree in part: 49 %"),
        (12, "agree in part: 31 %"),
        (11, "point to different places: 28 %"),
        (0, "point to different places: 0 %"),
    ],
)
def test_the_two_best_maps_agree_or_not(common: int, verdict: str) -> None:
    """From half of their top fifth on they agree, from three tenths on in part."""
    one, other = sharing(common)
    (line,) = about(told(question(judged("a", 0.4, one), judged("b", 0.3, other), RANDOM, EDGE)), "two best maps")
    assert f"a and b, {verdict} of the top fifth" in line
    assert "by chance 20 %" in line


def test_one_good_map_agrees_with_nobody() -> None:
    assert not about(told(question(judged("a", 0.4), judged("b", 0.0, outcome="random"), RANDOM)), "two best maps")


def test_overlap_is_the_common_share_of_the_top_fifth() -> None:
    assert overlap(judged("a").attribution, judged("b").attribution) == 1
    assert overlap(judged("a").attribution, judged("b", values=RIGHT).attribution) == 0
    assert 0.5 < overlap(judged("a").attribution, judged("b", values=HALFWAY).attribution) < 0.9


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("no_positive_evidence", "broken finds nothing that speaks for it."),
        ("constant", "broken gives a constant map, which says nothing."),
        ("non_finite", "broken gives NaN or infinity: its map is not shown."),
    ],
)
def test_a_map_that_shows_nothing_is_named_and_never_the_best(status: str, words: str) -> None:
    broken = judged("broken", 0.9 if status == "no_positive_evidence" else None, -LEFT, status=status)
    lines = told(question(broken, judged("good", 0.4), RANDOM, EDGE))
    assert about(lines, f"For 'cat', {words}")
    assert about(lines, "good stands up best")
    assert about(lines, "1 of 7 maps stands up.")
    assert not about(told(question(judged("good", 0.4), RANDOM)), "broken")


def test_a_question_that_every_method_refused_says_so() -> None:
    lines = told(question(RANDOM, EDGE, refused={"a": "why", "b": "why"}))
    assert about(lines, "No method gave a map of 'cat': 2 refused")
    assert not about(told(question(judged("good"), RANDOM, refused={"a": "why"})), "No method")


@pytest.mark.parametrize(
    ("common", "verdict"),
    [
        (39, "100 % of their top fifth: the network uses the same evidence for both"),
        (24, "62 % of their top fifth: the network uses the same evidence for both"),
        (23, "59 % of their top fifth: the evidence is partly shared"),
        (14, "36 % of their top fifth: the evidence is partly shared"),
        (13, "33 % of their top fifth: the network looks at different places for each"),
        (0, "0 % of their top fifth: the network looks at different places for each"),
    ],
)
def test_the_maps_of_both_classes_are_compared(common: int, verdict: str) -> None:
    one, other = sharing(common)
    first = question(judged("a", 0.4, one, overlap=0.12), judged("b", 0.5, status="no_positive_evidence"), RANDOM)
    second = question(judged("a", 0.1, other), RANDOM, target="dog", role="runner-up")
    (line,) = about(told(first, second), "overlap by")
    verdict = verdict.replace("top fifth:", "top fifth (with an unlikely class: 12 %):")
    assert line == f"The a maps of 'cat' and 'dog' overlap by {verdict}."


def test_what_cannot_be_compared_is_not() -> None:
    first = question(judged("a", 0.4, overlap=0.1), RANDOM)
    assert not about(told(first), "overlap by")
    second = {"target": "dog", "role": "runner-up"}
    assert not about(told(first, question(judged("b", 0.4), RANDOM, **second)), "overlap by")
    assert not about(told(first, question(judged("a", None, status="constant"), RANDOM, **second)), "overlap by")
    assert not about(told(first, question(judged("a", 0.4, outcome="random"), RANDOM, **second)), "overlap by")
    unknown = question(judged("a", 0.4), RANDOM)  # not compared with an unlikely class
    assert not about(told(unknown, question(judged("a", 0.4), RANDOM, **second)), "overlap by")
    same = question(judged("a", 0.4, overlap=0.9), RANDOM)
    assert not about(told(same, question(judged("a", 0.4), RANDOM, **second)), "overlap by")


def test_the_grid_is_told_for_each_layer_that_maps_come_from() -> None:
    coarse = torch.rand(7, 14)
    maps = [judged(name, 0.4, LEFT, layer="layer4") for name in ("x", "y")]
    lines = told(question(*maps, _of_layer("cam", coarse, "layer3"), judged("fine"), RANDOM))
    assert about(lines, "What x and y show comes from layer layer4, a grid of 28 x 28: each cell covers 1 x 1 px")
    assert about(lines, "What cam shows comes from layer layer3, a grid of 7 x 14: each cell covers 4 x 2 px")
    assert not about(told(question(judged("fine"), RANDOM)), "grid")


def _of_layer(title, values, layer):
    attribution = Attribution(values[None, None], title, ("ok",), ("cat",), (SIDE, SIDE), layer=layer)
    return Judged(attribution, title, "Shows.", 0.1, {}, {}, False, PROVENANCE)
