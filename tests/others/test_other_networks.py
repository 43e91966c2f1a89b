"""Other people's networks by many methods: each cell is right against an independent number, or refused in one line.

A network is a row of `HUGGING` or `KINDS`; a method's truth is a function of `truth.py`, in plain torch on a module that
tapetum never gets. `python tests/others/sweeping.py kinds|hugging [names] [methods]` prints the cells.
"""

from __future__ import annotations

import pytest
import torch
from hugging import HUGGING
from kinds import KINDS
from sweeping import sweep
from truth import CHECKS

OTHERS = {**HUGGING, **KINDS}
QUICK = ("predict", "saliency", "grad_cam", "occlusion")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
IN_EVERY_TYPE = ("plain", "vgg", "functional", "gated", "transformer_encoder", "softmax_inside", "one_logit_two_names",
                 "resnet", "vit", "convnext", "swin", "regnet", "deit")  # fmt: skip


REFUSED = {"imagegpt", "siglip2", "autoencoder"}
"""Networks that take no pictures, or give no classes."""


def wrong(name: str, methods: tuple[str, ...], dtype: torch.dtype = torch.float64) -> list[str]:
    rows = sweep({name: OTHERS[name]}, methods, dtype)
    assert len(rows) == len(methods)
    if "occlusion" in methods:  # needs nothing but answers: refusing everything would be right, too
        assert [row[2] == "refused" for row in rows if row[1] == "occlusion"] == [name in REFUSED]
    return [f"{method}: {outcome}, {why}" for _, method, outcome, why in rows if outcome not in ("ok", "refused")]


@pytest.mark.parametrize("name", [*IN_EVERY_TYPE, *sorted(REFUSED)])
def test_quick_methods_are_right_or_refuse(name: str) -> None:
    """A sample; all methods by all networks are slow."""
    assert not wrong(name, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_method_is_right_or_refuses(name: str) -> None:
    assert not wrong(name, tuple(CHECKS))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", IN_EVERY_TYPE)
def test_in_every_precision(name: str, dtype: torch.dtype) -> None:
    assert not wrong(name, tuple(CHECKS), dtype)
