"""Objectives: what pictures are optimised for. Each has one value per picture, which is maximised; they add and scale.

from tapetum import objectives
objectives.channel("blocks.3.0", 5) - 100 * objectives.total_variation()

    units         channel, neuron, unit, channel_weight, neuron_weight, local_group, deep_dream
    directions    concept, direction, direction_neuron, cosine_direction, tensor_direction
    answers       class_logit, class_probability, class_log_probability, class_contrast, target
    comparisons   dot_cosine, cosine_similarity, correlation, feature_match; to subtract: content_distance, style_distance,
                  input_diff
    groups        diversity, alignment, interpolate, channel_interpolate
    penalties     to subtract: total_variation, l1, l2, power_norm, blur_difference, boundary_complexity, alpha_mean
"""

from tapetum.engines.render.objectives.answers import (
    class_contrast,
    class_log_probability,
    class_logit,
    class_probability,
    target,
)
from tapetum.engines.render.objectives.base import OUTPUT, Objective, Seen, each
from tapetum.engines.render.objectives.comparisons import (
    content_distance,
    correlation,
    cosine_similarity,
    dot_cosine,
    feature_match,
    gram,
    input_diff,
    style_distance,
)
from tapetum.engines.render.objectives.directions import (
    concept,
    cosine_direction,
    direction,
    direction_neuron,
    tensor_direction,
)
from tapetum.engines.render.objectives.groups import alignment, channel_interpolate, diversity, interpolate
from tapetum.engines.render.objectives.penalties import (
    alpha_mean,
    blur_difference,
    blurred,
    boundary_complexity,
    l1,
    l2,
    power_norm,
    total_variation,
)
from tapetum.engines.render.objectives.reading import as_objective, as_objectives, check_needs
from tapetum.engines.render.objectives.units import (
    channel,
    channel_weight,
    deep_dream,
    local_group,
    neuron,
    neuron_weight,
    unit,
)

__all__ = [
    "OUTPUT", "Objective", "Seen", "alignment", "alpha_mean", "as_objective", "as_objectives", "blur_difference", "blurred",
    "boundary_complexity", "channel", "channel_interpolate", "channel_weight", "check_needs", "class_contrast",
    "class_log_probability", "class_logit", "class_probability", "concept", "content_distance", "correlation",
    "cosine_direction",
    "cosine_similarity", "deep_dream", "direction", "direction_neuron", "diversity", "dot_cosine", "each", "feature_match",
    "gram", "input_diff", "interpolate", "l1", "l2", "local_group", "neuron", "neuron_weight", "power_norm", "style_distance",
    "target", "tensor_direction", "total_variation", "unit",
]  # fmt: skip
