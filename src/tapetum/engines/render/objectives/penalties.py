"""Penalties on the picture itself: positive numbers to subtract, as in `channel(...) - 100 * total_variation()`.

Each is a mean over pixels and colour channels, so that a weight means the same at every size of picture. Where a paper or Lucid
uses a sum, its weights are those used here divided by 3 h w. Which weight has a visible effect depends on how large the
objective is: for channel 5 of blocks.3.0 of EfficientNet-Lite0, which reaches 33 with pictures of 96 px, a weight of 100
halves the total variation, and one of 1000 halves the blur difference; both leave the channel at 32 or more.

    of   "colors": red, green and blue in [0, 1];   "alpha": transparency;   "model_ready": colours as the network gets them
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.engines.render.objectives.common import call_text, mean, positive, sum_each, whole_number
from tapetum.types import MethodError

Of = Literal["colors", "alpha", "model_ready"]
"""Which values of a picture are penalised."""


def total_variation(*, beta: float | int = 1, of: Of = "colors") -> Objective:
    """Total variation (n,): the mean of (dx^2 + dy^2)^(beta / 2), dx and dy the differences to the pixels right and below.

    0 for a picture of one colour; differences across the border count as 0. Isotropic (rudin1992tv; mahendran2015inversion with
    beta 2): edges in all directions cost the same. Lucid and Lucent use |dx| + |dy|.
    """
    power = positive(beta, "beta", 1, reached=True)

    def value(seen: Seen) -> Tensor:
        x = _values(seen, of)
        dx = F.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
        dy = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
        if power == 2:
            return mean(dx**2 + dy**2)
        return mean(torch.linalg.vector_norm(torch.stack([dx, dy], -1), dim=-1) ** power)  # gradient 0 where both are 0

    return _penalty("total_variation", of, value, beta=None if power == 1 else power)


def l1(*, constant: float | int = 0.5, of: Of = "colors") -> Objective:
    """Mean distance (n,) of pixel values from a grey: the mean of |x - constant|."""
    return _penalty("l1", of, lambda seen: mean((_values(seen, of) - constant).abs()), constant=_unless(constant, 0.5))


def l2(*, constant: float | int = 0.5, of: Of = "colors") -> Objective:
    """Mean squared distance (n,) of pixel values from a grey: the mean of (x - constant)^2. Lucid uses the root of the sum."""
    return _penalty("l2", of, lambda seen: mean((_values(seen, of) - constant) ** 2), constant=_unless(constant, 0.5))


def power_norm(*, power: float | int = 6, of: Of = "model_ready") -> Objective:
    """Mean (n,) of |x|^power, which penalises extreme values above all; mahendran2015inversion uses a power of 6."""
    p = positive(power, "power", 1, reached=True)
    name = call_text("power_norm", power=_unless(p, 6), of=_unless(of, "model_ready"))
    _check_of(of)
    return Objective(name, (), lambda seen: mean(_values(seen, of).abs() ** p))


def blur_difference(*, sigma_px: float | int = 1, of: Of = "colors") -> Objective:
    """Mean squared difference (n,) of a picture from its blurred version, (x - blur(x))^2; large for high frequencies.

    Subtracting it lowers high frequencies; old notebooks add it, which raises them. The blur is Gaussian; at the edge it
    averages only pixels inside the picture. Lucid's `blur_input_each_step` treats the blurred picture as a constant; here the
    gradient flows through the blur as well.
    """
    sigma = positive(sigma_px, "sigma_px")

    def value(seen: Seen) -> Tensor:
        x = _values(seen, of)
        return mean((x - blurred(x, sigma)) ** 2)

    return _penalty("blur_difference", of, value, sigma_px=_unless(sigma, 1))


def boundary_complexity(*, width_px: int = 20, constant: float | int = 0.5) -> Objective:
    """Roughness of the border and its distance from grey (n,): the mean of (x - blur(x))^2 + .8 (x - constant)^2.

    The border is made of the pixels within width_px of an edge; a picture that is all border is refused. The blur is Gaussian
    with a sigma of 1 px. Lucid's `penalize_boundary_complexity` is minus the sum, to be added, with a blur of 5 px.
    """
    border = whole_number(width_px, "width_px", 1, MethodError)

    def value(seen: Seen) -> Tensor:
        x = seen.pixels[:, :3]
        inside = _inside(x, border)
        rough = (x - blurred(x, 1)) ** 2 + 0.8 * (x - constant) ** 2  # .8 as in Lucid
        return sum_each(rough * ~inside) / (x.shape[1] * (~inside).sum())

    return Objective(call_text("boundary_complexity", width_px=_unless(border, 20), constant=_unless(constant, 0.5)), (), value)


def _inside(x: Tensor, border: int) -> Tensor:
    """Returns a mask (h, w) of the pixels that do not belong to the border; refuses a border that fills the picture."""
    height, width = size_of(x)
    if 2 * border >= min(height, width):
        raise MethodError(f"a border of {border} px fills the picture of {height} x {width} px: give a smaller width_px")
    inside = torch.zeros(height, width, dtype=torch.bool, device=x.device)
    inside[border:-border, border:-border] = True
    return inside


def alpha_mean() -> Objective:
    """Opacity (n,) in [0, 1] of pictures with transparency: the mean of alpha."""
    return Objective("alpha_mean()", (), lambda seen: mean(_values(seen, "alpha")))


def blurred(x: Tensor, sigma_px: float | int) -> Tensor:
    """Blurs x (..., h, w) with a Gaussian that ends at 3 sigma; at the edge, weights are normalised over the pixels inside."""
    reach = math.ceil(3 * sigma_px)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma_px) ** 2).tolist()
    return _blurred_across(_blurred_across(x, weights).mT, weights).mT


def _blurred_across(x: Tensor, weights: list[float]) -> Tensor:
    """Blurs along the last axis by adding shifted copies, since a convolution may add up in another order in another batch."""
    width, reach = x.shape[-1], len(weights) // 2
    wide, ones = F.pad(x, (reach, reach)), F.pad(torch.ones_like(x[(0,) * (x.ndim - 1)]), (reach, reach))
    values = sum(weight * wide[..., i : i + width] for i, weight in enumerate(weights))
    shares = sum(weight * ones[i : i + width] for i, weight in enumerate(weights))
    assert isinstance(values, Tensor)
    return values / shares


def _values(seen: Seen, of: Of) -> Tensor:
    if of == "alpha":
        if seen.pixels.shape[1] != 4:
            raise MethodError("these pictures have no alpha: choose a parametrization with transparency")
        return seen.pixels[:, 3:]
    colors = seen.pixels[:, :3]
    return colors if of == "colors" else seen.model.preprocessing.normalize(colors)


def _penalty(name: str, of: Of, value: Any, **options: Any) -> Objective:
    _check_of(of)
    return Objective(call_text(name, **options, of=_unless(of, "colors")), (), value)


def _check_of(of: Any) -> None:
    if of not in ("colors", "alpha", "model_ready"):
        raise MethodError(f'a penalty is of "colors", "alpha" or "model_ready", not {of!r}')


def _unless(value: Any, usual: Any) -> Any:
    """Returns the value, or None if it is the default, which names of objectives leave out."""
    return None if value == usual else value
