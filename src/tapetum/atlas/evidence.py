"""Computes the evidence of activation vectors for every class, and the model's predictions for pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tapetum import progress
from tapetum.data.streams import Source
from tapetum.data.streams.base import picture_of
from tapetum.engines.probe import edit
from tapetum.engines.scores import forward_logits
from tapetum.models.vision_model import VisionModel
from tapetum.types import Cancelled, ImageError, LayerError, TapetumError

BATCH = 16

ROUNDING = 1e-6
"""Largest difference between rows of a batch that rounding alone can cause, as a share of the largest logit."""


def evidence(model: VisionModel, layer: str, means: Tensor) -> Tensor:
    """Returns the evidence (k, classes) of k vectors: e_kc = logit_c(v_k at every place of the layer) - its mean over the k.

    In the forward pass of a grey image, the layer's map is replaced by one that is v_k everywhere; before a linear head the
    evidence is w_c . (v_k - mean v). carter2019activation instead averages h . dlogit/dh over a cell's vectors h. That takes
    zero as a neutral value, which is wrong where outputs are signed, and slopes as effects, which is wrong after a ReLU6: at
    blocks.5.0 of EfficientNet-Lite0 it ranked a photograph's own class 983rd of 1000 (median of 48 photographs). With the
    evidence here, 403 of 500 classes have more evidence in the cells of their own photographs than on average; with the
    paper's, 180.
    """
    grey = model.blank()
    found = list[Tensor]()
    for start in range(0, len(means), BATCH):
        progress.report(start, len(means), "cells")
        vectors = means[start : start + BATCH].to(model.device, model.dtype)
        images = model.laid_out(grey.expand(len(vectors), -1, -1, -1).contiguous())
        with torch.inference_mode(False), torch.no_grad(), edit(model, {layer: partial(_filled, vectors)}):
            found.append(forward_logits(model, images).double().cpu())
    progress.report(len(means), len(means), "cells")
    table = torch.cat(found)
    if len(table) > 1 and (table - table[0]).abs().max() <= ROUNDING * table.abs().max():
        raise LayerError(f"the answer of {model.name} does not read what {layer} returns")
    return table - table.mean(0)


def _filled(vectors: Tensor, act: Tensor) -> Tensor:
    """Returns a map of an activation's shape (n, c, h, w) or (n, c), with vector i at every place of row i."""
    return (vectors if act.ndim == 2 else vectors[:, :, None, None].expand_as(act)).to(act.dtype).contiguous()


def predictions(model: VisionModel, source: Source, samples: Sequence[int]) -> dict[int, int]:
    """Returns {sample: class with the largest logit}; leaves out pictures that can no longer be read."""
    found: dict[int, int] = {}
    for start in range(0, len(samples), BATCH):
        progress.report(start, len(samples), "pictures")
        some: dict[int, Tensor] = {}
        for sample in samples[start : start + BATCH]:
            with suppress(ImageError), picture_of(source, sample, model.preprocessing) as pixels:
                some[sample] = model.prepared(pixels)
        if some:
            with torch.inference_mode(False), torch.no_grad():
                best = forward_logits(model, model.laid_out(torch.cat(list(some.values())))).argmax(1)
            found.update(zip(some, best.tolist(), strict=True))
    progress.report(len(samples), len(samples), "pictures")
    return found


def answered(work: Callable[[], Any]) -> tuple[Any, str]:
    """Returns (result of `work`, ""), or (None, reason) if it fails, as for models that return embeddings and no logits."""
    try:
        return work(), ""
    except Cancelled:
        raise
    except (TapetumError, RuntimeError) as error:
        return None, str(error).partition("\n")[0]
