"""What gets names: the units of a layer, or concepts, which are directions of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from tapetum.engines.dictionaries import plain
from tapetum.engines.scan.coded import Coded
from tapetum.engines.scan.trackers import Scores, Tracker
from tapetum.engines.scores.inside import one_layer
from tapetum.families.spectra import as_concepts
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Concept, Concepts, Craft, Dictionary, MethodError, ScoreKind

Nameable: TypeAlias = str | Concept | Concepts | Craft | Sequence[Concept]


@dataclass(frozen=True, eq=False)
class Subject:
    """A layer and, where concepts get names and not its units, their titles and the code that gives one number for each."""

    layer: str
    titles: tuple[str, ...] | None = None
    code: Dictionary | None = None

    def tracker(self, score: ScoreKind) -> Tracker:
        """Returns what keeps a score of every unit or concept on every picture."""
        if self.code is None:
            return Scores(score)
        if self.code.code == "nearest" and score == "max":
            note("scores are means over places: a k-means concept is the same number at each of its places")
            return Coded(Scores("mean"), self.code)
        return Coded(Scores(score), self.code)


def as_subject(model: VisionModel, given: Any) -> Subject:
    """Returns what is to be named.

    `Concepts` are compared by their own code, as their examples are found; concepts by themselves by the activation along their
    direction, as where they are targets.
    """
    if isinstance(given, str):
        return Subject(one_layer(model, given))
    concepts = as_concepts(model, given)
    layers = list(dict.fromkeys(one.layer for one in concepts))
    if len(layers) != 1:
        several = f"those of {len(layers)} layers" if layers else f"{type(given).__name__}"
        raise MethodError(f"names are of a layer, tp.Concepts, or tp.Concept of one layer, not of {several}")
    titles = tuple(str(one) for one in concepts)
    if not isinstance(given, Concepts):
        return Subject(layers[0], titles, plain(torch.stack([one.unit_vector for one in concepts])))
    if given.model not in ("", model.name):
        note(f"these concepts were found in {given.model}, and are named in {model.name}")
    return Subject(layers[0], titles, given.dictionary)
