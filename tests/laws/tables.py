"""What the laws must know of single methods: one line a method, in any order; a method without a line needs none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from tapetum.registry import lookup
from tapetum.types import LayerError, MethodError, Status, TapetumError

METHODS = [method.name for method in tp.methods(kind="attribution")]

QUICK: dict[str, dict[str, Any]] = {
    "smooth_grad": {"n_samples": 4},
    "smooth_grad_squared": {"n_samples": 4},
    "var_grad": {"n_samples": 4},
    "gradient_shap": {"n_samples": 4},
    "blur_integrated_gradients": {"n_steps": 6, "max_sigma_px": 4},
    "guided_integrated_gradients": {"n_steps": 6},
    "xrai": {"n_steps": 4, "min_size_px": 6, "min_new_px": 4, "dilation_px": 1},
    "integrated_gradients": {"n_steps": 4},
    "occlusion": {"window": 4, "stride": 4},
    "rise": {"n_masks": 24, "cells": 4},
    "smooth_grad_cam_plus_plus": {"n_samples": 4},
    "ss_cam": {"n_samples": 3},
    "is_cam": {"n_steps": 3},
    "fem": {"k": 1},  # two standard deviations leave no peaks on maps of 4 x 4
    "extremal_perturbation": {"n_steps": 20},
    "sobol": {"n_designs": 4, "cells": 3},
    "hsic": {"n_samples": 40, "cells": 3},
    "feature_ablation": {"segments": "grid", "n_segments": 16},
    "lime": {"segments": "grid", "n_segments": 9, "n_samples": 32},
    "kernel_shap": {"segments": "grid", "n_segments": 9, "n_samples": 40},
    "shapley_sampling": {"segments": "grid", "n_segments": 16, "n_samples": 3},
}
"""Settings that keep the suite quick; a method without an entry runs with its defaults."""

CLASS_SENSITIVE: dict[str, dict[str, Any]] = {
    "extremal_perturbation": {"n_steps": 80},  # the masks of all classes start alike and need as many steps to part
}
"""Settings for the law of that name alone, where the quick ones are too quick."""

CAMS = [name for name in METHODS if "map_of_layer" in lookup(name).laws]

WITHOUT_RELU = ("linear", "linear_conv", "channels_last", "vit_token", "vit_mean")
"""Networks of the zoo that have no ReLU."""

WITHOUT_ATTENTION = ("linear", "linear_conv", "in_place", "functional", "reused", "residual", "channels_last", "as_dict",
                     "as_dataclass", "branches")  # fmt: skip

REFUSED: dict[tuple[str, str], type[TapetumError]] = {
    **{(cam, "linear"): LayerError for cam in CAMS},
    **{
        (method, name): MethodError
        for method in ("attention_rollout", "gradient_attention", "le_grad")
        for name in WITHOUT_ATTENTION
    },
    **{("guided_backprop", name): MethodError for name in WITHOUT_RELU},
    **{("var_grad", name): MethodError for name in ("linear", "linear_conv")},  # one gradient everywhere
    **{("deconvnet", name): MethodError for name in WITHOUT_RELU},
    **{("guided_grad_cam", name): MethodError for name in WITHOUT_RELU},
    ("guided_grad_cam", "linear"): LayerError,
    **{("cam", name): MethodError for name in ("functional", "branches", "vit_token")},  # a functional ReLU, a class token
    ("hires_cam", "vit_token"): MethodError,  # a LayerNorm follows: the channels cancel
    **{
        ("refine_cam", name): LayerError for name in ("linear", "linear_conv", "channels_last", "vit_token", "vit_mean")
    },  # one grid
    **{("excitation_backprop", name): MethodError for name in WITHOUT_RELU},
    **{("contrastive_excitation_backprop", name): MethodError for name in WITHOUT_RELU},
}
"""Every pair that is refused, and how. A refusal that is not listed fails, and so does one that is listed and gone."""

GRADIENT_CAMS = ("grad_cam", "hires_cam", "shapley_cam", "xgrad_cam")
POSITIVE_ALONE = ("excitation_backprop", "grad_cam_plus_plus", "guided_backprop", "guided_grad_cam", "layer_cam", "refine_cam")

STATUS: dict[tuple[str, str], tuple[Status, Status]] = {
    **{
        (method, name): ("ok", "no_positive_evidence")
        for method in (*GRADIENT_CAMS, "ablation_cam", "finer_cam", "lrp")
        for name in ("in_place", "functional")
    },
    ("cam", "in_place"): ("ok", "no_positive_evidence"),
    **{
        (method, name): ("no_positive_evidence", "ok")
        for method in (*GRADIENT_CAMS, "cam", "contrastive_excitation_backprop", "lrp", "smooth_grad_cam_plus_plus")
        for name in ("reused", "as_dict")
    },
    ("lime", "branches"): ("no_positive_evidence", "ok"),
    **{(method, name): ("constant", "ok") for method in POSITIVE_ALONE for name in ("reused", "as_dict")},
    **{("guided_grad_cam", name): ("ok", "constant") for name in ("in_place", "functional")},
}
"""Pairs with a map that is not "ok" of class 1 on the first picture or of class 3 on the second: nothing speaks for them."""

STATUS_PREDICTED: dict[tuple[str, str], tuple[Status, Status]] = {
    ("ablation_cam", "residual"): ("no_positive_evidence", "no_positive_evidence"),
    ("lrp", "functional"): ("no_positive_evidence", "no_positive_evidence"),
}
"""The same of the predicted class of each picture."""


def by_cells(w: Tensor, x: Tensor, fill: float) -> Tensor:
    """What sixteen cells of a picture of 16 px are worth to a linear score, at each of their pixels."""
    of_cells = F.avg_pool2d((w * (x - fill)).sum(1, keepdim=True), 4) * 16
    return of_cells.repeat_interleave(4, 2).repeat_interleave(4, 3)


def sixteen_cells(fill: float) -> dict[str, Any]:
    return {"segments": "grid", "n_segments": 16, "fill": fill}


LINEAR: dict[str, tuple[Callable[[float], dict[str, Any]], Callable[[Tensor, Tensor, float], Tensor]]] = {
    "input_x_gradient": (lambda fill: {}, lambda w, x, fill: w * x),
    "integrated_gradients": (lambda fill: {"n_steps": 3, "baseline": fill}, lambda w, x, fill: w * (x - fill)),
    "guided_integrated_gradients": (lambda fill: {"n_steps": 3, "baseline": fill}, lambda w, x, fill: w * (x - fill)),
    "gradient_shap": (lambda fill: {"n_samples": 2, "baseline": fill, "sigma": 0}, lambda w, x, fill: w * (x - fill)),
    "deep_lift": (lambda fill: {"baseline": fill}, lambda w, x, fill: w * (x - fill)),
    "occlusion": (
        lambda fill: {"window": 1, "stride": 1, "fill": fill},
        lambda w, x, fill: (w * (x - fill)).sum(1, keepdim=True),
    ),
    "feature_ablation": (sixteen_cells, by_cells),
    "kernel_shap": (sixteen_cells, by_cells),
    "shapley_sampling": (sixteen_cells, by_cells),
}
"""Of methods that declare `linear_exact`: keywords for a fill, and the values for score = w . x + b."""

COMPLETE: dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor], float, float]] = {
    # 64 Gauss points integrate a smooth path almost exactly; a path that crosses ReLU kinks to about 1/64 of a kink each
    "integrated_gradients": ({"n_steps": 64, "baseline": 0.3}, lambda x: torch.full_like(x, 0.3), 1e-6, 1e-2),
    # a blur of 1000 px leaves the mean colour; a LayerNorm turns sharply where contrast begins, which costs digits
    "blur_integrated_gradients": (
        {"n_steps": 64, "max_sigma_px": 1000},
        lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
        1e-5,
        1e-2,
    ),
    # the path is made of 64 straight pieces, each a trapezoid: the error falls with the square of their length
    "guided_integrated_gradients": ({"n_steps": 64, "baseline": 0.3}, lambda x: torch.full_like(x, 0.3), 1e-3, 1e-2),
    # nothing is approximated
    "deep_lift": ({"baseline": 0.3}, lambda x: torch.full_like(x, 0.3), 1e-10, 1e-10),
}
"""Of methods that declare `complete`: keywords, the baseline, and the share of the difference by which the sum may be off on
smooth networks and on those with kinks."""
