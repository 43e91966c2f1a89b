"""Mosaics of pictures: whether a method looks for its class in the quarters where it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.data.preprocessing import size_of
from tapetum.data.sources import PHOTOGRAPHS, packaged_photo
from tapetum.engines.scores import as_score
from tapetum.families.metrics.measuring import evaluated
from tapetum.families.metrics.subjects import MadeWith, Subject, statuses
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.types import Attribution, Evaluation, ImageError, MethodError


@metric(cite="ariasduart2022focus")
def focus(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    others: Tensor | None = None,
    parameters: MadeWith = None,
) -> Evaluation:
    """The share of the positive relevance that a method gives to the quarters of a mosaic in which its class is.

    value = sum of max(R, 0) in the image's own quarters / sum of max(R, 0), in [0, 1], high is good, .5 is chance; R is the map
    of the same target for a mosaic of 2 x 2 pictures of half the size. The image lies on one diagonal, once as it is and once
    mirrored; on the other lie the two of `others` on which the target's score is lowest. The mean over both ways to place them
    is taken, so that a map that prefers a corner has no advantage. The paper's mosaics hold two pictures of the class and two
    of other classes from a data set; here one image is enough, and its number does not depend on the rest of the batch.

    The method is measured, not this map: it is made again to see that it is the one given. Targets have to be classes. NaN for
    a map that is constant, has NaN or no positive evidence, and where no mosaic gets positive relevance.

    Args:
        others: model-ready images (m, c, h, w), m >= 2, of other things; None: scikit-image's photographs of a cat, an
            astronaut, a cup of coffee and a rocket, cut and normalised as the model wants them.

    Example:
        >>> tp.focus(model, images, tp.grad_cam(model, images)).value
    """
    if not all(type(target) is int for target in attribution.explains):
        raise MethodError("focus looks for a class among others, and these maps explain no single classes")
    strangers, found = _strangers(model, images, others), torch.full((len(images), 2), torch.nan, dtype=torch.float64)
    subject, status = Subject.of("focus", model, images, attribution, parameters), statuses(attribution)
    for row in track(subject.measured, len(subject.measured), "images"):
        network, target = subject.models[row], attribution.explains[row]
        pictures, own = mosaics(images[row : row + 1], _least(network, strangers, target))
        maps = subject.map(row, network, pictures)
        positive = maps.heatmap().double().clamp(min=0)
        found[row] = ((positive * own).sum((1, 2)) / positive.sum((1, 2))).cpu()
        if "non_finite" in maps.status:
            status[row] = "non_finite"
        elif bool(found[row].isnan().all()):
            status[row] = "no_positive_evidence"
    return evaluated("focus", found.nanmean(1), status, "higher", (0.0, 1.0), parts={"share": found})


def mosaics(image: Tensor, strangers: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two mosaics (2, c, h, w) of an image (1, c, h, w) and two others, and where the image is, (2, h, w) bool.

    In the first it lies on the diagonal from the upper left, in the second on the other one.
    """
    height, width = size_of(image)
    top, left = height // 2, width // 2
    places = [(_part(r, top, height), _part(c, left, width)) for r in (0, 1) for c in (0, 1)]
    mirrored, made, own = image.flip(-1), image.new_zeros(2, *image.shape[1:]), torch.zeros(2, height, width, dtype=torch.bool)
    orders: Sequence[Sequence[Tensor]] = (
        (image, strangers[:1], strangers[1:], mirrored),
        (strangers[:1], image, mirrored, strangers[1:]),
    )
    for i, order in enumerate(orders):
        for (rows, columns), one in zip(places, order, strict=True):
            size = rows.stop - rows.start, columns.stop - columns.start
            made[i : i + 1, :, rows, columns] = F.interpolate(one, size, mode="bilinear", align_corners=False, antialias=True)
            own[i, rows, columns] = one is image or one is mirrored
    return made, own.to(image.device)


def _part(second: int, middle: int, end: int) -> slice:
    return slice(middle, end) if second else slice(0, middle)


def _strangers(model: VisionModel, images: Tensor, others: Tensor | None) -> Tensor:
    if others is not None:
        ready = model.as_images(others)
        if len(ready) < 2:
            raise MethodError("focus takes two or more others, to lie beside the image")
    else:
        try:
            ready = model.preprocess([packaged_photo(name) for name in PHOTOGRAPHS])
        except ImageError as error:
            raise MethodError(f"focus needs others=, images of other things: {model.name} takes no photographs") from error
    same = size_of(ready) == size_of(images)
    return ready if same else F.interpolate(ready, size_of(images), mode="bilinear", align_corners=False, antialias=True)


def _least(model: VisionModel, strangers: Tensor, target: int) -> Tensor:
    """Returns the two pictures on which the target's score is lowest, lowest first."""
    with torch.no_grad():
        scores = torch.cat([as_score(model, one, [target])(one) for one in strangers.split(1)])
    return strangers[scores.argsort(stable=True)[:2]]
