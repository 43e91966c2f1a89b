"""Definitions of methods in other libraries and papers: a table of their defaults and of their processing of the values.

    tp.grad_cam(model, images, like="grad-cam")      # ReLU, scaled to [0, 1], at the input's size, as that library returns it

Tests compare every entry with the library's own output; for sampled methods, on the same random draws.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor

from tapetum.border.fusion import upsampled
from tapetum.types import MethodError

MapStep: TypeAlias = Callable[[Tensor, tuple[int, int]], Tensor]
"""(values (n, c, h, w), size of the images) -> values."""


@dataclass(frozen=True)
class Profile:
    """Differences between a library's definition of a method and tapetum's.

    defaults   the library's values for keywords that the user does not give
    each       steps applied to the values of each layer
    join       with several layers, extra steps applied to each layer's map before fusing
    after      steps applied when the layers are joined
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    each: tuple[MapStep, ...] = ()
    join: tuple[MapStep, ...] = ()
    after: tuple[MapStep, ...] = ()


def through(steps: Sequence[MapStep], values: Tensor, size: tuple[int, int]) -> Tensor:
    """Applies all steps to the values in turn; `size` is (height, width) of the images."""
    return functools.reduce(lambda so_far, step: step(so_far, size), steps, values)


def relu(values: Tensor, _size: tuple[int, int]) -> Tensor:
    return values.clamp(min=0)


def to_input(values: Tensor, size: tuple[int, int]) -> Tensor:
    return upsampled(values, size)


def tanh_2(values: Tensor, _size: tuple[int, int]) -> Tensor:
    """LayerCAM's scaling of early layers: tanh(2 v)."""
    return (2 * values).tanh()


def min_max(eps: float) -> MapStep:
    """Returns a step that scales each image's values to [0, 1]: (v - min) / (max - min + eps)."""

    def scaled(values: Tensor, _size: tuple[int, int]) -> Tensor:
        values = values - values.amin((1, 2, 3), keepdim=True)
        return values / (values.amax((1, 2, 3), keepdim=True) + eps)

    return scaled


_SAME = Profile()
_GRAD_CAM = Profile(each=(relu, min_max(1e-7), to_input), after=(relu, min_max(1e-7)))
_TORCHCAM = Profile({"fuse": "max"}, each=(relu, min_max(1e-8)))
_PAPER = Profile(each=(relu,))

# Left out, although the library has a method of that name, because its values differ:
# captum       smooth_grad, smooth_grad_squared, var_grad: the noise has a sigma of 1.0, not a share of each image's range;
#              var_grad divides by n. lime: another regression (lasso). kernel_shap: 25 coalitions, too few for 50
#              segments; tapetum refuses that.
# grad-cam     eigen_cam, eigen_grad_cam, kpca_cam: the sign is whatever the decomposition returns. finer_cam: weighs
#              similar classes by their probabilities and differentiates these weights.
# torchcam     grad_cam_plus_plus, refine_cam: the normalised alphas are never used. smooth_grad_cam_plus_plus: activations and
#              ReLU(g) come from the last noisy copy alone. is_cam: its factors add up to 5.5. ss_cam: scales masks before it
#              upsamples them, with other noise.
# zennit       smooth_grad: one of its samples is the image without noise. excitation_backprop: keeps biases unless
#              zero_params="bias" is given. occlusion: shows one window at a time instead of hiding it.
PROFILES: Mapping[str, Mapping[str, Profile]] = {
    "saliency": {"captum": _SAME, "paper": _SAME},
    "input_x_gradient": {"captum": _SAME, "zennit": _SAME},
    "integrated_gradients": {"captum": _SAME, "zennit": Profile({"n_steps": 20, "quadrature": "right"})},
    "gradient_shap": {"captum": Profile({"n_samples": 5, "sigma": 0})},
    "deep_lift": {"captum": _SAME},
    "guided_backprop": {"captum": _SAME, "zennit": _SAME},
    "deconvnet": {"captum": _SAME, "zennit": _SAME},
    "guided_grad_cam": {"captum": Profile({"upsampling": "nearest"}), "paper": _SAME},
    "lrp": {"captum": Profile({"composite": "epsilon", "epsilon": 1e-9}), "zennit": _SAME},
    "occlusion": {"captum": Profile({"stride": 1})},
    "feature_ablation": {"captum": _SAME},
    "shapley_sampling": {"captum": _SAME},
    "grad_cam": {"captum": _SAME, "grad-cam": _GRAD_CAM, "torchcam": _TORCHCAM, "paper": _PAPER},
    "grad_cam_plus_plus": {"grad-cam": _GRAD_CAM, "paper": _PAPER},
    "smooth_grad_cam_plus_plus": {"paper": _PAPER},
    "layer_cam": {"grad-cam": _GRAD_CAM, "torchcam": replace(_TORCHCAM, join=(tanh_2,)), "paper": _PAPER},
    "xgrad_cam": {"grad-cam": _GRAD_CAM, "torchcam": _TORCHCAM},
    "hires_cam": {"grad-cam": _GRAD_CAM},
    "shapley_cam": {"grad-cam": _GRAD_CAM},
    "finer_cam": {"torchcam": replace(_TORCHCAM, defaults={"fuse": "max", "alpha": 0.6}), "paper": _PAPER},
    "fem": {"grad-cam": _GRAD_CAM},
    "cam": {"torchcam": replace(_TORCHCAM, each=(min_max(1e-8),)), "paper": _SAME},  # without the ReLU
    "full_grad": {"grad-cam": Profile(each=(min_max(1e-7),))},
    "score_cam": {
        "grad-cam": _GRAD_CAM,
        "torchcam": replace(_TORCHCAM, defaults={"fuse": "max", "align_corners": False}),
        "paper": _PAPER,
    },
    "ss_cam": {"paper": _PAPER},
    "is_cam": {"paper": _PAPER},
    "ablation_cam": {"grad-cam": _GRAD_CAM, "paper": _PAPER},
}
"""{method: {library: profile}}; a library whose values equal tapetum's has the empty profile."""


def profile(method: str, like: str | None) -> Profile:
    """Returns the profile of a method in a library, empty for None; raises a `MethodError` for an unknown library."""
    known = PROFILES.get(method, {})
    if like is None:
        return _SAME
    if not isinstance(like, str) or like not in known:
        raise MethodError(f"{method} has no profile '{like}'; there {'are ' + ', '.join(known) if known else 'is none'}")
    return known[like]
