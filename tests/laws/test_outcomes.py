"""A map's status, from maps that are known by hand: those of a linear score, whose gradient is its weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import SIDE, pictures, wrapped

import tapetum as tp


@pytest.mark.parametrize(("rise", "status"), [(0.0, "constant"), (5e-7, "constant"), (2e-6, "ok"), (1e-3, "ok")])
def test_a_map_is_constant_up_to_a_millionth_of_its_largest_value(rise: float, status: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)).double()
    with torch.no_grad():
        module[1].weight.fill_(1)
        module[1].weight[1, 0] += rise  # one pixel of one channel
    assert tp.saliency(wrapped(module), pictures(1), 1).status == (status,)
