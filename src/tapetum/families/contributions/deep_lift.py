"""DeepLIFT: propagates the difference of the score from a reference back through the network."""

from __future__ import annotations

from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Baseline
from tapetum.engines.batching import over_images
from tapetum.engines.scores import ModelScore
from tapetum.families.contributions.multipliers import contributions
from tapetum.types import Batch


@attribution(cite="shrikumar2017deeplift", reduce="sum", laws=("class_sensitive", "linear_exact", "dummy", "complete"))
def deep_lift(score: ModelScore, images: Tensor, *, baseline: Baseline, batch: Batch = "auto") -> Tensor:
    """Each value's share of the score's change from a baseline, as every operation of the network passes it back.

    The rescale rule: with z and z0 what an operation y = f(z) gets for the image and for the baseline, R_z = R_y * (z - z0) /
    (y - y0) element by element (the derivative where z = z0). Linear operations share in proportion; a maximum gives all to
    the place of the larger of the two maxima. values: signed, (n, c, h, w), in units of the score; they sum to score(x) -
    score(x0) exactly, at the cost of two passes and one backward.

    Beyond the paper: a product of two activations (gates, attention) passes (b + b0) / 2 * (a - a0) to a and likewise to b;
    in normalisations and softmax, c * r with r the normaliser, the change of c counts at the smaller r and that of r at the
    other c, which stays bounded where the baseline is flat. Operations are followed however they are spelled. One without a
    rule is refused by name, and so is a network whose values do not add up, since it decides by comparisons.

    Example:
        >>> tp.deep_lift(model, images, baseline="blur").values.sum()
    """
    return over_images(score, images, contributions, batch, baseline, gradients=True)
