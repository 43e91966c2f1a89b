"""The receipt: the same audit, blind, on twins of the user's network whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.families.audits.material import Material
from tapetum.families.audits.objects import standing_out
from tapetum.families.audits.pictures import BATCH, Audited, answers
from tapetum.families.audits.planting import FOUND_AS, HIDDEN, VISIBLE, planted, suggested
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import find_head, with_head
from tapetum.progress import report, stage
from tapetum.training.starting import private
from tapetum.types import Audit, ModelError, Receipt

RATES = (0.7, 0.85, 1.0)
"""Shares of pictures whose cue speaks for their own class, in turn over the twins with a cue."""

TOOK = 0.1
"""Least gap between the shares of right answers with the own and with another class's cue of a twin that took the cue."""

DECAYS = (1e-4, 1e-2)
STEPS = 60


Ask: TypeAlias = Callable[[VisionModel, Audited], Audit]
"""Audits a model on pictures that have been read."""


@dataclass(frozen=True)
class Twin:
    """A twin's planted kind (None: clean), its rate, the gap that the cue makes, and what its audit accused it of first."""

    kind: str | None
    rate: float
    gap: float
    accused: str | None


def receipt_of(
    model: VisionModel,
    read: Audited,
    made: Material,
    masked: bool,
    n: int,
    seed: int,
    ask: Callable[[VisionModel, Audited], Audit],
) -> Receipt:
    """Trains n twins, half of them with a planted cue, and audits each with `ask`; returns what was found."""
    head, kinds = _head(model), VISIBLE + HIDDEN
    twins: list[Twin] = []
    with stage(f"{n} twins"):
        for number in range(n):
            kind = kinds[(number // 2) % len(kinds)] if number % 2 else None
            rate = RATES[(number // (2 * len(kinds))) % len(RATES)]
            report(number, n, "twins")
            with stage(kind or "clean"):
                twins.append(_twin(model, head, read, made, masked, kind, rate, seed + 7919 * (number + 1), ask))
    return summed(twins, f"new heads on the frozen features of {model.name}, {len(read.labels)} pictures each")


def summed(twins: list[Twin], setting: str) -> Receipt:
    """Counts what was found on twins; a twin that did not take its cue has no shortcut to find, and is left out."""
    clean = [one for one in twins if one.kind is None]
    took = [one for one in twins if one.kind is not None and one.gap >= TOOK]
    kinds: dict[str, tuple[int, int]] = {}
    for one in took:
        assert one.kind is not None
        found, total = kinds.get(one.kind, (0, 0))
        kinds[one.kind] = (found + named(one), total + 1)
    visible = [one for one in took if one.kind in VISIBLE]
    return Receipt(
        sum(map(named, visible)),
        len(visible),
        sum(one.accused is not None for one in clean),
        len(clean),
        kinds,
        sum(one.accused is not None for one in visible),
        len(twins) - len(clean) - len(took),
        setting,
    )


def named(twin: Twin) -> bool:
    """Whether a twin's first suspicion is of its planted kind."""
    return twin.kind is not None and twin.accused == FOUND_AS.get(twin.kind, twin.kind)


def _twin(
    model: VisionModel,
    head: str,
    read: Audited,
    made: Material,
    masked: bool,
    kind: str | None,
    rate: float,
    seed: int,
    ask: Ask,
) -> Twin:
    """Trains a twin on pictures of its own, and audits it on other draws of the same."""
    rows = torch.arange(len(read.labels))
    generator = torch.Generator().manual_seed(seed)

    def drawn(cues: str, draw: int) -> Tensor:
        return planted(made, rows, kind, suggested(read.labels, rate, cues, generator), seed, seed + draw)

    twin = _trained(model, head, torch.cat([drawn("mixed", 1), drawn("mixed", 2)]), read.labels.repeat(2), len(read.classes))
    gap = 0.0 if kind is None else _right(twin, read, drawn("aligned", 3)) - _right(twin, read, drawn("conflicting", 4))
    pixels = drawn("mixed", 5)
    objects = read.objects if masked else standing_out(pixels)
    found = ask(twin, replace(read, pixels=pixels, objects=objects, outputs=tuple(range(len(read.classes)))))
    return Twin(kind, rate, gap, found.suspicions[0].kind if found.suspicions else None)


def _right(twin: VisionModel, read: Audited, pixels: Tensor) -> float:
    said = torch.cat([answers(twin, some, range(len(read.classes)))[1] for some in pixels.split(BATCH)])
    return float((said == read.labels).double().mean())


# --- training


def _head(model: VisionModel) -> str:
    try:
        return find_head(model)
    except ModelError as error:
        raise ModelError(f"twins are new heads on a network's features: {error}; use twins=0") from error


def _trained(model: VisionModel, head: str, pixels: Tensor, labels: Tensor, classes: int) -> VisionModel:
    """Returns a copy of the model with a new head, trained on the pictures by logistic regression on its features."""
    twin = private(model)
    twin.labels = None
    new = with_head(twin, head, classes)
    seen: list[Tensor] = []
    handle = new.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        with torch.no_grad():
            for some in pixels.split(BATCH):
                images = twin.preprocessing.normalize(some).to(twin.device, twin.dtype)
                twin.module(images) if twin.call is None else twin.call(twin.module, images)
    finally:
        handle.remove()
    _fit(new, torch.cat(seen), labels)
    return twin


def _fit(head: nn.Module, features: Tensor, labels: Tensor) -> None:
    """Fits a head by L-BFGS to the cross-entropy plus a decay of standardised weights, which a fifth of the rows chooses."""
    flat = features.flatten(1).double()
    mean, spread = flat.mean(0), flat.std(0).clamp(min=1e-6)
    inputs = (flat - mean) / spread
    held = torch.arange(len(labels)) % 5 == 0
    k = int(labels.max()) + 1
    tried = [_solved(inputs[~held], labels[~held], k, decay) for decay in DECAYS]
    losses = [float(F.cross_entropy(inputs[held] @ w.T + b, labels[held])) for w, b in tried]
    weight, bias = tried[losses.index(min(losses))]
    with torch.no_grad():
        parameters = dict(head.named_parameters())
        scaled = weight / spread
        parameters["weight"].copy_(scaled.view_as(parameters["weight"]))
        if "bias" in parameters:
            parameters["bias"].copy_(bias - scaled @ mean)


def _solved(inputs: Tensor, labels: Tensor, k: int, decay: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(k, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(k, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, labels) + decay * weight.square().sum()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        return loss

    optimizer.step(closure)  # pyright: ignore[reportUnknownMemberType]
    return weight.detach(), bias.detach()
