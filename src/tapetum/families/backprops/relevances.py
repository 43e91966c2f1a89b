"""Relevance propagation: distributes the score backwards layer by layer; what arrives at a pixel is its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.layers import automatic_layer, layer_of, refuse_unread
from tapetum.border.methods import attribution, inspection
from tapetum.border.sentences import LayerName
from tapetum.data.preprocessing import size_of
from tapetum.engines.backward import composites
from tapetum.engines.backward.composites import CompositeName
from tapetum.engines.backward.relevance import of_one, relevance, relevance_at
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.backprops.conditions import conditions
from tapetum.families.inspections import chosen
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, ConceptRelevance, Range, TargetLike, Unit


@attribution(cite="bach2015lrp", reduce="sum", laws=("class_sensitive", AT_IMAGE, "linear_in_score"))
def lrp(
    score: ModelScore,
    images: Tensor,
    *,
    composite: CompositeName = "epsilon_plus",
    through: str | Unit | Sequence[str | Unit] | None = None,
    epsilon: Annotated[float, Range(0, 10)] = 1e-6,
    gamma: Annotated[float, Range(0, 1000)] = 0.25,
    batch: Batch = "auto",
) -> Tensor:
    """The score shared out over the pixels, layer by layer, each input getting what it contributed (relevance propagation).

    R_in = sum_k x_k * W_k^T (R_out / z) with z = sum_k (W_k x_k + b_k), where the rule says what the parts x_k, W_k are:

    epsilon: the layer as it is, z + epsilon sign z below (zero: epsilon = 0).
    plus (z+): contributions above zero alone; alpha2_beta1: twice those minus those below zero.
    gamma: contributions above zero count 1 + gamma times.
    box (z-box): for pixels between black and white; flat: the same to every input; w2: by squared weights.

    A composite gives linear layers the first rule of its name, convolutions the second, and the layer that sees the image
    the third. sequential_preset_a, _b are iNNvestigate's names of epsilon_plus and epsilon_alpha2_beta1. On mosaics of four
    photographs (efficientnet_lite0, 10 maps) .81 of the positive relevance lay on the explained class with epsilon_plus, .82
    with the two gamma composites, .69 with epsilon_alpha2_beta1 and .33 with epsilon; chance is .25.

    A batch-norm after a convolution or linear layer is merged into it. Activations (ReLU, GELU, SiLU, ...) pass relevance on;
    sums, means and average pools share it in proportion; of a product of two activations the gate is held constant
    (squeeze-and-excitation), and so are attention weights and the deviations of layer norms (achtibat2024attnlrp).
    Softmax, products of two signals, and every operation without a rule are refused: a gradient would not be relevance.

    values: signed, (n, c, h, w), in units of the score: they sum to it, but for what biases, constants (positions, class
    tokens) and epsilon keep. On a ReLU network without biases, zero is input x gradient exactly.

    With `through` relevance goes on through those channels alone (concept relevance propagation, achtibat2023crp): the maps of
    all channels of a layer add up to the whole.

    Args:
        composite: which rule each kind of layer gets.
        through: channels as "layer:channel", also several ("a:3, a:7"); at those layers all else is cut off.
        epsilon: epsilon of its rule, in units of activations; 1e-6 only keeps from dividing by zero, more hides weak paths.
        gamma: gamma of its rule; 0 is LRP-0, very large is z+.

    Example:
        >>> tp.lrp(model, images, target="tabby", composite="epsilon_gamma_box")
    """
    rules = composites.composite(composite, epsilon, gamma)
    size = size_of(images)
    on_the_way = conditions(score.model, through, size)
    refuse_unread(score, images, on_the_way)
    return relevance(score, images, rules, through=on_the_way, batch=batch)


@inspection(cite="achtibat2023crp", takes="images", question="mattered")
def concept_relevance(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    layer: LayerName | None = None,
    k: Annotated[int, Range(1, 100_000)] = 4,
    composite: CompositeName = "epsilon_plus",
    batch: Batch = "auto",
) -> ConceptRelevance:
    """The k channels of a layer through which most of the score of an image passes: which, where, and how much.

    values (n, k, h, w): what `lrp` sends to each channel at each place, in units of the score, most relevant channel first;
    relevance (n, k) = their sums over places (without that of a class token, which has no place), total (n,) = the sum over
    all channels of the layer. `lrp(..., through="layer:channel")` then shows where in the image that channel got it from.
    Where nothing of the score comes through the layer, the text and the figure say so.

    Args:
        k: channels per image.
        composite: which rule each kind of layer gets, as in `lrp`.

    Example:
        >>> print(tp.concept_relevance(model, images, target="tabby", layer="blocks.5", k=3))
    """
    score = as_score(model, images, target)
    name = automatic_layer(score, images, ())[0] if layer is None else layer_of(score, images, layer)
    maps = relevance_at(score, images, name, composites.composite(composite), batch=batch)
    every = maps.sum((2, 3))
    channels = every.topk(min(k, maps.shape[1])).indices
    return ConceptRelevance(
        layer=name,
        values=chosen(maps, channels),
        channels=channels,
        relevance=every.gather(1, channels),
        total=every.sum(1),
        targets=score.describe(len(images)),
        photographs=model.denormalize(images),
    )


@attribution(cite="zhang2018excitation", reduce="positive", laws=("class_sensitive", AT_IMAGE, "linear_in_score"))
def excitation_backprop(score: ModelScore, images: Tensor, *, at: str | None = None, batch: Batch = "auto") -> Tensor:
    """The places where a winner-take-all walk from the target down the excitatory connections ends: a probability map.

    P_in = sum_k x_k * W_k^T (P_out / z) over excitatory contributions (x_i w_ij > 0) alone and without biases, the marginal
    winning probability; the target starts with 1. values: (n, c, h, w) at the image or at the layer `at`; for a class they
    are not negative and sum to 1 (what reaches only inputs that excite nothing is lost). On activations that are not
    negative this is the paper's; negative inputs, as normalised pixels, excite through negative weights. Batch-norms are
    merged, sums and average pools share in proportion. What excites one class excites most: the contrastive form tells them
    apart. The paper supposes ReLUs: a network without is refused, use lrp.

    Args:
        at: the layer where the map is read, None: the image; the paper reads middle layers, which are smoother.

    Example:
        >>> tp.excitation_backprop(model, images, target="tabby", at="blocks.3")
    """
    return _excitation(score, images, False, at, batch)


@attribution(cite="zhang2018excitation", reduce="positive", laws=("class_sensitive", AT_IMAGE, "linear_in_score"))
def contrastive_excitation_backprop(
    score: ModelScore, images: Tensor, *, at: str | None = None, batch: Batch = "auto"
) -> Tensor:
    """The places where excitation of the target exceeds that of its opposite, the same unit with negated weights.

    values = P(target) - P(target with negated weights of the last linear layer), each summing to 1: the difference is taken
    at that layer's input and sent on by the excitation rule, which is linear. Signed, (n, c, h, w) at the image or at the
    layer `at`; the heatmap is the positive part of the sum over channels, as in the paper. Refused without ReLUs.

    Args:
        at: layer at which the map is read, as in `excitation_backprop`.

    Example:
        >>> tp.contrastive_excitation_backprop(model, images, target="tabby", at="blocks.3")
    """
    return _excitation(score, images, True, at, batch)


def _excitation(score: ModelScore, images: Tensor, contrastive: bool, at: str | None, batch: Batch) -> Tensor:
    rules = composites.excitation(contrastive)
    if at is None:
        return relevance(score, images, rules, seed=of_one, batch=batch)
    return relevance_at(score, images, layer_of(score, images, at), rules, seed=of_one, batch=batch)
