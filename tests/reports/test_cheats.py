"""A network that cheats by the background, and its honest twin: what a report says first, and what it never says."""

from __future__ import annotations

from typing import Any

import pytest

import tapetum as tp
from tapetum.types.verdicts import LEAST_RANGE

ANIMALS: dict[str, Any] = {"kind": "objects", "size": 48, "classes": ("husky", "wolf")}
SNOW: dict[str, Any] = {"shortcut": "background", "backgrounds": ("grass", "snow")}


def trained(rate: float, seed: int) -> tp.VisionModel:
    pictures = tp.planted(n=300, rate=rate, seed=2 * seed + 10, **ANIMALS, **SNOW)
    how: dict[str, Any] = {"epochs": 10, "batch": 16, "learning_rate": 4e-3, "schedule": "cosine", "validation": 0.1}
    return tp.train(pictures, seed=seed, **how).model


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_that_hiding_everything_changes_nothing_is_the_first_finding_about_a_cheat(seed: int) -> None:
    """Ten seeds were measured by hand: 80 of 80 pictures of cheats, none of them with a map that stands up."""
    pictures = tp.planted(n=4, rate=1.0, seed=1000 + seed, **ANIMALS, **SNOW).pixels
    for name, rate in (("cheat", 1.0), ("honest", 0.5)):
        network, standing = trained(rate, seed), 0
        for picture in pictures.split(1):
            found = tp.explain(network, picture, methods="grad_cam, layer_cam, occlusion", runner_up=False)
            question = found.questions[0]
            assert question.probability is not None
            untested = question.probability - max(question.hidden.values()) < LEAST_RANGE
            stands = any(judged.stands for judged in question.maps)
            standing += stands
            assert found.findings[0].startswith("Hiding the whole picture leaves") == untested
            assert untested or name == "honest"
            assert not (untested and stands)
            assert not (untested and any("stands up best" in line for line in found.findings))
        assert standing == 0 or name == "honest"
