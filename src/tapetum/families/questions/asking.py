"""Asks a network the five questions on one's own pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import torch

from tapetum.border.methods import survey
from tapetum.border.sentences import Seed
from tapetum.data.streams import Source
from tapetum.families.depth.layers import named_or_five
from tapetum.families.questions.abstraction import abstraction, inverted_layers
from tapetum.families.questions.hierarchy import hierarchy
from tapetum.families.questions.redundancy import ASKED, redundancy
from tapetum.families.questions.space import ASKED as ORDERED
from tapetum.families.questions.space import SHOWN, space
from tapetum.families.questions.subjects import Subject, beside, look, random_networks, subject_of
from tapetum.families.questions.uses import uses
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import stage, track, watching
from tapetum.types import FiveAnswers, Range
from tapetum.types.answers import Answer, Topic

COST_OF_STEP = 3.0
"""How many times as long as a pass a step of an inversion takes, forth and back."""


@survey(question="found")
def five_questions(
    model: VisionModel,
    source: Source,
    *,
    layers: str | Sequence[str] | None = None,
    n: Annotated[int, Range(20, 10_000)] | None = 100,
    twins: Annotated[int, Range(2, 20)] = 5,
    inverted: Annotated[int, Range(1, 20)] = 4,
    n_steps: Annotated[int, Range(1, 10_000)] = 30,
    seed: Seed = 0,
) -> FiveAnswers:
    """Five questions of every course on convolutional networks, answered by measuring this one on one's own pictures.

    How do late layers differ from early ones (hierarchy)? Where is space lost? Are filters redundant? Why do inversions of deep
    layers look abstract? What are the features good for? Each `Answer` is a sentence with its numbers and intervals of
    95 %, says what was measured and what would make it false, and has curves over the depth of the network. Networks of the
    same architecture with random weights are measured beside it: an answer has the verdict "yes" only where they do not give
    it, too. Answers about classes need class folders (at least two, with four pictures each), and are left out with the reason
    otherwise.

    Of classes: order = mean over i of P(s_ij > s_ik | y_j = y_i != y_k), s cosines of features, y classes. Of places y: R^2 =
    1 - sum |y - reader's|^2 / sum |y - mean|^2. Of c channels: directions in use = (sum l)^2 / (c sum l^2), l variances along
    principal directions. All shares are in [0, 1] up to noise. At least 20 pictures are needed; progress says first what the
    work will cost. docs/howto/questions.md tells how to read the page that `tapetum questions` writes.

    Args:
        layers: names or globs of layers with a map; None: five depths, with different grids if possible.
        n: pictures, drawn at random; None: all. They are in memory together.
        twins: networks with random weights, of each kind: batch-norms as they are made, and fitted to the pictures.
        inverted: pictures that are inverted at four of the depths, in the network and in one with random weights.
        n_steps: steps of each inversion.

    Example:
        >>> print(tp.five_questions(model, photographs, twins=2, inverted=1, n_steps=2).of("space"))
    """
    names = sorted(named_or_five(model, layers), key=model.survey.position)
    spent = dict[str, float]()
    with _clock(spent, "reading"), stage("reading"):
        subject = subject_of(model, source, names, n, seed)
    if model.weights == "random":
        note(f"{model.name} has random weights itself: nothing was learned that could be found")
    with stage(_cost(subject, twins, inverted, n_steps)):
        answers = _asked(subject, twins, inverted, n_steps, spent)
    return FiveAnswers(
        answers=answers,
        layers=subject.layers,
        pictures=len(subject.images),
        classes=subject.classes,
        skipped=subject.skipped,
        seconds=spent,
        model=model.name,
        data=source.name,
    )


def _asked(subject: Subject, k: int, p: int, n_steps: int, spent: dict[str, float]) -> tuple[Answer, ...]:
    """Returns the five answers; adds the seconds of each part to `spent`."""
    with _clock(spent, "features"):
        own = look(subject.model, subject.images, subject.layers)
        random = random_networks(subject, k)
        others = beside(subject, random)
    few = inverted_layers(subject.model, subject.layers)
    jobs: dict[Topic, Callable[[], Answer]] = {
        "hierarchy": lambda: hierarchy(subject, own, others),
        "space": lambda: space(subject, random[0]),
        "redundancy": lambda: redundancy(subject, own, others, random[0]),
        "abstraction": lambda: abstraction(subject, few, p, n_steps, random[0]),
        "uses": lambda: uses(subject, own, others),
    }
    found: list[Answer] = []
    for topic in track(jobs, len(jobs), "questions"):
        with _clock(spent, topic), watching(None):  # the parts' own progress counts other things
            found.append(jobs[topic]())
    return tuple(found)


@contextmanager
def _clock(spent: dict[str, float], part: str) -> Iterator[None]:
    """Notes the seconds that the block takes."""
    begun = time.perf_counter()
    yield
    spent[part] = time.perf_counter() - begun


def _cost(subject: Subject, k: int, p: int, n_steps: int) -> str:
    """Says what will be done, and about how long it takes; a few pictures are run to know."""
    model, n, d = subject.model, len(subject.images), len(subject.layers)
    some = subject.images[:4]
    with torch.no_grad():
        model(some)  # the first pass is slower
        begun = time.perf_counter()
        model(some)
    passes = n * (2 * k + 1) + 2 * (SHOWN + (d + 1) * ORDERED + 4 * d * ASKED) + 2 * COST_OF_STEP * p * 4 * n_steps / 2
    seconds = passes * (time.perf_counter() - begun) / len(some)
    lasts = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{n} pictures, {d} depths, {k} random networks, {p} pictures inverted: about {lasts} on this machine"
