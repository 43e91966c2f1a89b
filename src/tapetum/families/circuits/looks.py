"""What the nodes of a circuit look like: how they answer the images, where they answer most, and what they want to see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.render.objectives import Objective, channel
from tapetum.engines.signed import taps
from tapetum.families.circuits.subject import Node, Subject
from tapetum.families.spectra import box_around, crop_side
from tapetum.families.visualizations import visualize
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import stage
from tapetum.types import MethodError
from tapetum.types.circuits import CircuitExample, CircuitLooks

EXAMPLES = 4
"""Images per node of which a part is shown."""

CROP_PX = 72
SMALLEST, LARGEST = 16, 512
"""Sides of feature visualisations in px."""

STEPS = 128
"""Steps of a feature visualisation: the pictures are small, and a circuit has many."""

GREY = 0.5


def check_pictures(side: int | None) -> None:
    """Refuses a side of feature visualisations that is no whole number or out of range."""
    if side is not None and (side != int(side) or not SMALLEST <= side <= LARGEST):
        raise MethodError(f"pictures= is a side from {SMALLEST} to {LARGEST} px, or None for no pictures, not {side!r}")


def looked(about: Subject, nodes: Sequence[Node], pixels: Tensor, pictures: int | None, seed: int) -> CircuitLooks:
    """Reads the nodes on the images, cuts out where each is largest, and visualises the channels at `pictures` px."""
    means = [_means(about, node) for node in nodes]
    found = [one for i, node in enumerate(nodes) for one in _examples(about, i, node, pixels)]
    crops = [_crop(pixels[one.image], one.window) for one in found]
    drawn, made = _drawn(about.model, nodes, pictures, seed)
    return CircuitLooks(
        activations=torch.stack([*means, about.full]).float(),
        examples=tuple(found),
        crops=torch.stack(crops) if crops else torch.zeros(0, 3, CROP_PX, CROP_PX, dtype=torch.uint8),
        drawn=drawn,
        pictures=made,
    )


def _own(about: Subject, node: Node) -> Tensor:
    """Returns a node's output on the images (n, numbers)."""
    parts = [node.group.by_node(chunk.clean[node.group], chunk.n)[:, node.index] for chunk in about.chunks]
    return torch.cat(parts).detach().double().cpu()


def _means(about: Subject, node: Node) -> Tensor:
    """Returns one number per image (n,): a channel's mean, or the root mean square of a head's or an MLP's output."""
    own = _own(about, node)
    return own.mean(1) if node.group.kind == "channel" else own.square().mean(1).sqrt()


# --- where a node is largest


def _examples(about: Subject, i: int, node: Node, pixels: Tensor) -> list[CircuitExample]:
    """Returns the images on which a node is largest, with the part of each that is shown."""
    height, width = map(int, pixels.shape[-2:])
    own, grid = _own(about, node), _grid(about, node)
    best = own.max(1) if node.group.kind == "channel" else None
    values = _means(about, node) if best is None else best.values
    found: list[CircuitExample] = []
    for image in values.argsort(descending=True, stable=True)[:EXAMPLES].tolist():
        window = (0, 0, height, width)
        if best is not None and grid is not None:
            place = divmod(int(best.indices[image]), grid[1])
            side = crop_side((height, width), grid, _field(about.model, node.group.layer))
            window = box_around(place, grid, (height, width), side)
        found.append(CircuitExample(i, image, float(values[image]), window))
    return found


def _grid(about: Subject, node: Node) -> tuple[int, int] | None:
    """Returns the rows and columns of a channel's map; None where it has no map, or one cut into windows."""
    chunk, group = about.chunks[0], node.group
    clean = chunk.clean[group]
    if group.kind != "channel" or group.axis != 1 or clean.ndim != 4 or len(clean) != chunk.n:
        return None
    return int(clean.shape[2]), int(clean.shape[3])


def _field(model: VisionModel, layer: str) -> int | None:
    named = {one.name: one for one in model.survey.layers}
    return named[layer].receptive_field if layer in named else None


def _crop(pixels: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    """Returns a part of an image (3, h, w) as a small square picture from 0 to 255, on grey where the part is no square."""
    top, left, bottom, right = window
    part = pixels[None, :, top:bottom, left:right]
    scale = CROP_PX / max(bottom - top, right - left)
    size = max(1, round(scale * (bottom - top))), max(1, round(scale * (right - left)))
    small = F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False)[0]
    over = CROP_PX - size[0], CROP_PX - size[1]
    edges = (over[1] // 2, over[1] - over[1] // 2, over[0] // 2, over[0] - over[0] // 2)
    return _levels(F.pad(small, edges, value=GREY))


# --- what a channel wants to see


def _can_be_drawn(model: VisionModel, node: Node) -> bool:
    """Returns whether the node is a channel of a layer that has a name of its own."""
    return node.group.kind == "channel" and node.group.layer in {one.name for one in model.survey.layers}


def _drawn(model: VisionModel, nodes: Sequence[Node], side: int | None, seed: int) -> tuple[tuple[int, ...], Tensor]:
    """Returns the nodes with a feature visualisation, and these; a unit that no gradient reaches from noise has none."""
    able = [] if side is None else [i for i, node in enumerate(nodes) if _can_be_drawn(model, node)]
    if side is None or not able:
        return (), torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    wanted = [_objective(model, nodes[i]) for i in able]
    with stage("pictures"):
        made = visualize(model, wanted, size=side, n_steps=STEPS, seed=seed)
    good = [row for row, status in enumerate(made.status) if status == "ok"]
    if len(good) < len(able):
        note(f"{len(able) - len(good)} of {len(able)} channels have no picture: from noise, no gradient reaches them")
    return tuple(able[row] for row in good), _levels(made.pixels[good])


def _objective(model: VisionModel, node: Node) -> Objective:
    """Returns the objective that raises a channel before its activation function, where the node is read."""
    layer = node.group.layer
    return channel(layer, node.index, taps(model, [layer])[layer] == "pre-activation")


def _levels(pixels: Tensor) -> Tensor:
    return (pixels.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
