"""CAMs that combine several gradient passes: over noisy images, similar classes, or layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.fusion import upsampled
from tapetum.border.layers import all_layers, automatic_layer, first_positive, layer_of
from tapetum.border.methods import attribution
from tapetum.border.sentences import Copies, LayerName, Sigma, Tolerance
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.probe import activations
from tapetum.engines.scores import CallableScore, ClassScore, ModelScore, class_name, forward_logits, table_of
from tapetum.engines.statistics import CHECK, jackknife, settled, stacked
from tapetum.families.cams.weighted import plus_plus
from tapetum.notes import note
from tapetum.progress import report, track, watching
from tapetum.types import Batch, LayerError, Range

PARTS = 8
"""Number of parts of the sample for the jackknife; each keeps the sums of three powers of the gradient."""


@attribution(cite="omeiza2019smoothgradcampp", reduce="positive", laws=("class_sensitive", "map_of_layer", "sampled", "live"))
def smooth_grad_cam_plus_plus(
    score: ModelScore,
    images: Tensor,
    *,
    layer: LayerName,
    n_samples: Copies = 50,
    sigma: Sigma = 0.15,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Grad-CAM++ with gradients averaged over noisy copies of the image: steadier weights for the same activations.

    values = sum_k w_k A_k with w_k = sum over places of a ReLU(D1), a = D2 / (2 D2 + D3 sum over places of A) and Dp the
    mean over samples of g^p, g = d score / d A at x + e, e ~ N(0, s^2), s = sigma * (max x - min x); A is that of the image
    itself. The paper has D1 in the numerator of a, which is no longer Grad-CAM++; like torchcam we follow Grad-CAM++, but in
    torchcam D1 and A are those of the last noisy copy alone. `stderr` is a jackknife over eight parts of the sample. Number
    and noise are SmoothGrad's. All images of a batch get the same noise, scaled.

    Example:
        >>> tp.smooth_grad_cam_plus_plus(model, images, n_samples=16, seed=1).stderr.max()
    """
    spread = sigma * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    noise = torch.randn(n_samples, *images.shape[1:], generator=generator, dtype=torch.float32).to(images)
    maps = activations(score.model, images, layer)
    size = batch_size(score.model, batch)

    def estimate(row: int) -> tuple[Tensor, Tensor]:
        moments = _PowerSums(maps[row])
        report(0, n_samples, "gradients")
        for start in range(0, n_samples, CHECK):
            some = images[row] + spread[row] * noise[start : start + CHECK]
            with watching(None):  # only this loop reports progress
                _, grads = layer_gradient(score.take([row] * len(some)), some, layer, batch=size)
            for grad in grads:
                moments.add(grad)
            values, stderr = moments.estimate()
            enough = settled(values, stderr, tolerance)
            done = n_samples if enough else min(start + CHECK, n_samples)
            report(done, n_samples, "gradients", None, lambda values=values: values[None], (row,))
            if enough:
                break
        return moments.estimate()

    return stacked(estimate(row) for row in range(len(images)))


class _PowerSums:
    """Accumulates g, g^2, g^3 of the gradient over parts of the sample, for the map and its jackknife standard error."""

    def __init__(self, maps: Tensor) -> None:
        self.maps, self.count = maps, 0
        self.sums = torch.zeros(PARTS, 3, *maps.shape, dtype=maps.dtype, device=maps.device)
        self.counts = [0] * PARTS

    def add(self, grad: Tensor) -> None:
        part = self.count % PARTS
        self.sums[part] += torch.stack([grad, grad**2, grad**3])
        self.counts[part] += 1
        self.count += 1

    def estimate(self) -> tuple[Tensor, Tensor]:
        """Returns the map and its standard error from the samples so far, (1, h, w) each."""
        used = [part for part in range(PARTS) if self.counts[part]]
        total = self.sums.sum(0)
        whole = self._map(total / self.count)
        if len(used) < 2:
            return whole, torch.full_like(whole, torch.inf)
        without = [self._map((total - self.sums[part]) / (self.count - self.counts[part])) for part in used]
        return whole, jackknife(torch.stack(without))

    def _map(self, means: Tensor) -> Tensor:
        first, second, third = means
        return plus_plus(self.maps[None], first[None], second[None], third[None], 1e-8)[0]  # 1e-8 as in torchcam


@attribution(cite="zhang2025finercam", reduce="positive", laws=("class_sensitive", "class_only", "map_of_layer"))
def finer_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: LayerName,
    n_classes: Annotated[int, Range(1, 1000)] = 3,
    alpha: Annotated[float, Range(0, 10)] = 1.0,
    batch: Batch = "auto",
) -> Tensor:
    """Grad-CAM of what sets the class apart from similar ones: the details that decide between close classes.

    values = Grad-CAM of score_c - alpha * mean of the scores of the `n_classes` classes whose logits lie closest to that of
    c in this image (named in `notes`; fewer where the network has fewer). alpha = 0 is Grad-CAM. The target must be a class;
    for two classes of your choice give Grad-CAM the target contrast(a, b). The library grad-cam weighs the classes by their
    probabilities and differentiates those, too; torchcam's mean is the paper's sum, and ours.

    Args:
        n_classes: number of similar classes.
        alpha: strength of the comparison; 0.6 in torchcam.

    Example:
        >>> tp.finer_cam(model, images, target="tabby", n_classes=2).notes
    """
    assert isinstance(score, ClassScore)  # by the law CLASS_ONLY
    classes = [one for one in score.targets if isinstance(one, int)]
    size = batch_size(score.model, batch)
    table = torch.cat(list(in_chunks(range(len(images)), size, lambda rows: _table(score.take(rows), images[list(rows)]))))
    values: list[Tensor] = []
    for row in track(range(len(images)), len(images), "images"):
        similar = _closest(table[row], classes[row], n_classes)
        names = ", ".join(class_name(score.model, one) for one in similar)
        note(f"{class_name(score.model, classes[row])} is set apart from {names}")
        finer = CallableScore(score.model, _against(score, classes[row], similar, alpha), rows=score.take([row]).rows)
        with watching(None):
            maps, grads = layer_gradient(finer, images[row : row + 1], layer)
        values.append((grads.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
    return torch.cat(values)


def _table(score: ModelScore, images: Tensor) -> Tensor:
    """Returns the logits of all classes for the images, (n, classes)."""
    with score.model.at_rows(score.rows):
        return forward_logits(score.model, images)


def _closest(table: Tensor, of: int, n: int) -> list[int]:
    """Returns the indices of the n other classes whose logits are closest to that of class `of`."""
    distances = (table - table[of]).abs()
    distances[of] = torch.inf
    return distances.argsort(stable=True)[: min(n, len(table) - 1)].tolist()


def _against(score: ClassScore, of: int, similar: Sequence[int], alpha: float) -> Callable[[Any], Tensor]:
    """Returns a function from a model's output to the logit of class `of` minus `alpha` times the mean logit of `similar`."""
    reading = score.answers[score.main].read

    def read(output: Any) -> Tensor:
        table = reading.on("logit", table_of(output, score.main, score.model.name))
        return table[:, of] - (alpha * table[:, list(similar)].mean(1) if similar else 0)

    return read


@attribution(cite="domeniconi2026refinecam", reduce="positive", laws=("class_sensitive",))
def refine_cam(
    score: ModelScore, images: Tensor, *, layers: str | Sequence[str] | None = None, batch: Batch = "auto"
) -> Tensor:
    """Grad-CAM++ of several layers multiplied: as fine as the earliest, and only where the deepest agree.

    values = product over layers of min-max(ReLU(Grad-CAM++ of the layer)), each upsampled bilinearly to the finest grid
    (n, 1, h, w), in [0, 1]. A layer without positive evidence makes the product zero, which the status then says.

    Args:
        layers: names with commas between, or a glob; None: the last map without negative values of each of the last
            three grids (the choice is in `notes`).

    Example:
        >>> tp.refine_cam(model, images).notes
    """
    names = _several(score, images, layers)
    maps: list[Tensor] = []
    for name in names:
        acts, grads = layer_gradient(score, images, name, batch=batch)
        positive = plus_plus(acts, grads, grads**2, grads**3, 1e-6).clamp(min=0)
        low, high = positive.amin((2, 3), keepdim=True), positive.amax((2, 3), keepdim=True)
        maps.append((positive - low) / torch.where(high > low, high - low, 1))
    finest = max((tuple(one.shape[-2:]) for one in maps), key=lambda size: size[0] * size[1])
    return torch.stack([upsampled(one, (int(finest[0]), int(finest[1]))) for one in maps]).prod(0)


def _several(score: ModelScore, images: Tensor, layers: str | Sequence[str] | None) -> list[str]:
    found = [] if layers is None else all_layers(score.model, layers)
    names = list(dict.fromkeys(layer_of(score, images, name) for name in found)) or _stages(score, images)
    if len(names) < 2:
        raise LayerError(f"refine_cam multiplies the maps of several layers, and {names[0]} is one: name more with layers=")
    if layers is None:
        note(f"layers {', '.join(names)} were chosen: the last maps of the last {len(names)} grids")
    return names


def _stages(score: ModelScore, images: Tensor, n: int = 3) -> list[str]:
    """Lists layers at the end of the last n stages: the usual layer of a CAM, and the last outermost one of each larger grid.

    Each is replaced by the next layer without negative values, since Grad-CAM++ takes activations as evidence, and a product
    would multiply the errors of all stages.
    """
    survey = score.model.survey
    chosen, _ = automatic_layer(score, images, ())
    last: dict[tuple[int, int], str] = {}
    for name in survey.order[: survey.position(chosen)]:
        grid = survey[name].grid
        if grid is not None and grid != survey[chosen].grid and name.count(".") <= last.get(grid, name).count("."):
            last[grid] = name
    stages = [*list(last.values())[-(n - 1) :], chosen]
    return [first_positive(score, images, name, "")[0] for name in stages]
