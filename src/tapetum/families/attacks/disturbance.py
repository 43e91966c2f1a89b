"""What an attack changes inside a network, layer by layer and unit by unit, beside random changes of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tapetum.border.sentences import BlockLayers
from tapetum.border.subjects import border
from tapetum.data.planes import viewable
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.probe import capture
from tapetum.engines.similarity import rank_correlation
from tapetum.families.attacks.problem import Problem, pixels_of, posed
from tapetum.families.depth.layers import named_or_blocks
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.registry import lookup
from tapetum.types import Attack, Attribution, Disturbance, ImagesLike, MethodError, ModelLike, TapetumError

MAPS = ("saliency", "grad_cam")
"""Methods whose maps are compared before and after."""

SAME = 2e-3
"""Largest difference between an attack's clean pixels and those of the images: half a grey level of 8 bits."""


def disturbance(
    model: ModelLike,
    images: ImagesLike,
    attacked: Attack | ImagesLike,
    *,
    layers: BlockLayers = None,
    draws: int = 5,
    frames: int = 5,
    seed: int = 0,
) -> Disturbance:
    """What an attack changes inside the network, layer by layer and unit by unit, against noise of exactly the same size.

    change = |a' - a| / |a| of a layer's activation a, the root of the sum of squares over its units and places; per unit c,
    |a'_c - a_c| / |a|. The control gives the change of every pixel a random sign and keeps its magnitude, so it has the same
    size in every norm and the same places; where that would leave [0, 1], the attack's own sign stays. Beside it: the share of
    values that change sides of 0, maps of the answer before and after (saliency, Grad-CAM) with their rank correlation, and
    frames from clean to attacked.

    Args:
        attacked: an `Attack` of these images, or the attacked images, as `images`.
        layers: names or globs of layers with a map; None: the output of every block.
        draws: random changes to compare with; their spread is shown.
        frames: pictures on the straight line from clean to attacked, both included.
        seed: random seed of the noise.

    Example:
        >>> print(tp.disturbance(model, images, tp.fgsm(model, images, eps="8/255")))
    """
    with noting() as said, border(model, images) as (network, ready):
        for name, number, least in (("draws", draws, 1), ("frames", frames, 2)):
            if number != int(number) or not least <= number <= 1000:
                raise MethodError(f"{name} must be a whole number from {least} to 1000, not {number:g}")
        problem = posed(network, ready, None)
        there = attacked_pixels(network, problem.clean, attacked)
        made = _measured(problem, there, named_or_blocks(network, layers), draws, frames, seed)
    return replace(made, notes=tuple(said))


def attacked_pixels(model: VisionModel, clean: Tensor, attacked: Attack | ImagesLike) -> Tensor:
    """Returns the attacked pixels (n, c, h, w); refuses those of other images."""
    if isinstance(attacked, Attack):
        pixels, began = attacked.pixels.to(clean), attacked.clean.to(clean)
        if began.shape != clean.shape or float((began - clean).abs().max()) > SAME:
            raise MethodError("this attack began with other images: give the images that it was made of, in the same order")
    else:
        pixels = pixels_of(model, model.as_images(attacked))
    if pixels.shape != clean.shape:
        raise MethodError(
            f"{len(pixels)} attacked images of {tuple(pixels.shape[1:])} for {len(clean)} of {tuple(clean.shape[1:])}"
        )
    return pixels


def with_random_signs(clean: Tensor, there: Tensor, seed: int) -> Tensor:
    """Returns the clean pixels with the attack's changes, each with a random sign where both signs stay in [0, 1].

    Every image gets the same signs of a seed.
    """
    generator = torch.Generator().manual_seed(seed)
    coins = (torch.rand(clean.shape[1:], generator=generator) < 0.5).to(clean.device)
    other = 2 * clean - there
    allowed = (other >= 0) & (other <= 1)
    return torch.where(coins & allowed, other, there)


@dataclass(frozen=True, eq=False)
class _Change:
    """Changes of l layers on some images: of the layer (m, l), sides switched (m, l), of units {layer: (m, c)}."""

    layers: Tensor
    switched: Tensor
    units: Mapping[str, Tensor]


def _measured(problem: Problem, there: Tensor, layers: Sequence[str], draws: int, frames: int, seed: int) -> Disturbance:
    model, clean = problem.model, problem.clean
    noisy = [with_random_signs(clean, there, seed + i) for i in range(draws)]
    changes = _changes(problem, [there, *noisy], layers)
    own, others = changes[0], changes[1:]
    shares = torch.linspace(0, 1, frames, dtype=torch.float64).tolist()
    path = [clean, *(torch.lerp(clean, there, share) for share in shares[1:-1]), there]
    seen = [problem.judge(one) for one in path]
    answers = [problem.classes.names(one.logs.argmax(1)) for one in seen]
    maps, kept, kept_noise = _maps(problem, path, noisy)
    return Disturbance(
        model=model.name,
        layers=tuple(layers),
        change=own.layers,
        noise=torch.stack([one.layers for one in others], 1),
        switched=own.switched,
        switched_noise=torch.stack([one.switched for one in others], 1),
        units=own.units,
        units_noise={name: torch.stack([one.units[name] for one in others], 1) for name in layers},
        frames=torch.stack([viewable(one) for one in path], 1),
        shares=tuple(shares),
        answers=tuple(zip(*answers, strict=True)),
        confidence=torch.stack([one.logs.exp().amax(1) for one in seen], 1),
        maps=maps,
        kept=kept,
        kept_noise=kept_noise,
        largest=(there - clean).abs().flatten(1).amax(1),
    )


# --- activations


def _changes(problem: Problem, versions: Sequence[Tensor], layers: Sequence[str]) -> list[_Change]:
    """Returns the changes from the clean pixels to each version (n, c, h, w) of them."""
    model, n = problem.model, len(problem.clean)

    def work(rows: Sequence[int]) -> list[_Change]:
        before = _activations(problem, problem.clean[list(rows)], rows, layers)
        return [_change(before, _activations(problem, one[list(rows)], rows, layers)) for one in versions]

    with stage("layers"):
        parts = list(in_chunks(range(n), batch_size(model, "auto", gradients=True, n=n), work, "images"))
    return [_joined([part[i] for part in parts]) for i in range(len(versions))]


def _activations(problem: Problem, pixels: Tensor, rows: Sequence[int], layers: Sequence[str]) -> Mapping[str, Tensor]:
    with torch.no_grad(), capture(problem.model, list(layers)) as acts:
        problem.model(problem.ready(pixels), rows)
    return {name: acts[name] for name in layers}


def _change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> _Change:
    units: dict[str, Tensor] = {}
    switched: list[Tensor] = []
    for name, maps in before.items():
        size = _size(maps.flatten(1)).clamp(min=torch.finfo(torch.float64).tiny)
        units[name] = _size((after[name].double() - maps.double()).flatten(2)) / size[:, None]
        switched.append(((maps > 0) != (after[name] > 0)).flatten(1).double().mean(1))
    return _Change(torch.stack([_size(one) for one in units.values()], 1), torch.stack(switched, 1), units)


def _size(values: Tensor) -> Tensor:
    """Returns the root of the sum of squares over the last axis."""
    return values.double().square().sum(-1).sqrt()


def _joined(parts: Sequence[_Change]) -> _Change:
    units = {name: torch.cat([one.units[name] for one in parts]) for name in parts[0].units}
    return _Change(torch.cat([one.layers for one in parts]), torch.cat([one.switched for one in parts]), units)


# --- maps


Maps = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


def _maps(problem: Problem, path: Sequence[Tensor], noisy: Sequence[Tensor]) -> Maps:
    """Returns the maps of each frame's own answer, and rank correlations with the clean one: of the last, and by noise."""
    maps: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}
    kept_noise: dict[str, Tensor] = {}
    for name in MAPS:
        method = lookup(name).function  # not imported: methods are listed in the order in which files register them
        try:
            with stage(name):
                found = [
                    method(problem.model, problem.ready(one)) for one in track([*path, *noisy], len(path) + len(noisy), "maps")
                ]
        except TapetumError as refusal:
            note(f"there are no maps of {name}: {refusal}")
            continue
        along, others = found[: len(path)], found[len(path) :]
        first = _comparable(along[0])
        maps[name] = torch.stack([one.heatmap(None) for one in along], 1)
        kept[name] = rank_correlation(first, _comparable(along[-1]))
        kept_noise[name] = torch.stack([rank_correlation(first, _comparable(one)) for one in others], 1)
    return maps, kept, kept_noise


def _comparable(attribution: Attribution) -> Tensor:
    """Returns the signed sum, or the magnitude, of a map at its own resolution, which has an order everywhere."""
    return attribution.ranking(None)
