"""Quantus 0.6.0: randomisation metrics on a network of one layer, whose random weights both libraries draw alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import quantus
import torch
from quantus.functions.similarity_func import correlation_spearman
from torch import nn
from zoo import SIDE

import tapetum as tp

pytestmark = pytest.mark.oracle

QUIET: dict[str, Any] = {"disable_warnings": True, "normalise": False, "display_progressbar": False}
N = 3
TARGETS = [1, 0, 1]
SEED = -1
"""Quantus seeds each layer with `seed + 1`, here with 0."""


class OneLayer(nn.Module):
    """A quadratic form per class, so that maps depend on the image, with one layer of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * SIDE * SIDE, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear((images + images**2).flatten(1))


def network() -> Any:
    torch.manual_seed(3)
    module = OneLayer().eval()
    return tp.wrap(module, size=SIDE, outputs="logits")


def images() -> torch.Tensor:
    return torch.randn(N, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def explain(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    ready = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    wrapped = tp.wrap(model, size=SIDE, outputs="logits")
    return tp.saliency(wrapped, ready, [int(one) for one in targets]).heatmap().numpy()[:, None]


def theirs(metric: Any) -> Any:
    model = network().module
    pixels, wanted = images().numpy(), np.array(TARGETS)
    return metric(model=model, x_batch=pixels, y_batch=wanted, a_batch=explain(model, pixels, wanted), explain_func=explain)


def test_parameter_randomization_is_the_last_correlation_of_quantus() -> None:
    found = theirs(quantus.MPRT(seed=SEED, return_last_correlation=True, **QUIET))
    model = network()
    ours = tp.parameter_randomization(model, images(), tp.saliency(model, images(), TARGETS), seeds=1, steps=1)
    np.testing.assert_allclose(ours.value.numpy(), found, rtol=1e-6)


def test_efficient_randomization_is_that_of_quantus() -> None:
    found = theirs(quantus.EfficientMPRT(seed=SEED, **QUIET))
    model = network()
    ours = tp.efficient_parameter_randomization(model, images(), tp.saliency(model, images(), TARGETS), seeds=1)
    np.testing.assert_allclose(ours.value.numpy(), found, atol=0.01)  # a value on the edge of a bin may fall on either side


def test_random_logit_is_that_of_quantus_where_there_is_one_other_class() -> None:
    found = theirs(quantus.RandomLogit(num_classes=2, similarity_func=correlation_spearman, **QUIET))
    model = network()
    ours = tp.random_logit(model, images(), tp.saliency(model, images(), TARGETS), seeds=1)
    np.testing.assert_allclose(ours.value.numpy(), np.ravel(found), rtol=1e-6)
