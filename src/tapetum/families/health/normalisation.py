"""Checks by photographs whether mean, std and the order of the channels are those of the training.

A batch norm keeps the mean and variance of what it was given in training, so it knows how the images were normalised. How far
photographs are from that is a Kullback-Leibler divergence of normal distributions, a mean over the channels:

    D = (v / v' + (m - m')² / v' - 1 - log(v / v')) / 2        m, v: of the photographs, m', v': of the training

At the first batch norm D of three photographs was at most .16 with the right constants (EfficientNet-Lite0 and Lite1), mostly
above .4 with each other usual choice. The order of the channels hardly changes D there; over the first third of batch norms
it does, by .9 standard deviations of single photographs. docs/howto/doctor.md has the rates on other photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from tapetum.engines.batching import batch_size
from tapetum.families.health.inputs import assumed, range_of, rounded
from tapetum.families.health.patient import Patient, check, counted
from tapetum.models.hooks import hooked
from tapetum.models.passes import StopForward
from tapetum.types import Finding, TapetumError

FAR, NEAR, TIMES = 0.25, 0.3, 2.5
"""Wrong constants are claimed where D is above FAR and other constants have less than NEAR and TIMES less."""

BATCHES = 50
"""Batches after which the usual momentum of .1 leaves half a percent of the start in the statistics."""

SURE = 3.0
"""Standard errors by which the mean difference between two orders of the channels must lie above zero."""


class Constants(NamedTuple):
    """A usual normalisation: its name, its mean and std per channel (one number for all)."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


COLOUR = (
    Constants("ImageNet's", IMAGENET_MEAN, IMAGENET_STD),
    Constants("-1 to 1", (0.5,) * 3, (0.5,) * 3),
    Constants("pixels from 0 to 1", (0.0,) * 3, (1.0,) * 3),
    Constants("pixels from 0 to 255", (0.0,) * 3, (1 / 255,) * 3),
    Constants("pixels from 0 to 255 less ImageNet's mean", IMAGENET_MEAN, (1 / 255,) * 3),
)
GREY = (
    Constants("-1 to 1", (0.5,), (0.5,)),
    Constants("pixels from 0 to 1", (0.0,), (1.0,)),
    Constants("pixels from 0 to 255", (0.0,), (1 / 255,)),
    Constants("MNIST's", (0.1307,), (0.3081,)),  # as torch's own MNIST example has them
)
"""Usual constants for three channels and for one."""


@check(pictures=3)
def normalisation(patient: Patient) -> Iterator[Finding]:
    """Reports constants by which photographs look to the first batch norm unlike those of the training, and others do not."""
    known = {3: COLOUR, 1: GREY}.get(patient.model.channels, ())
    names = _trained(patient)
    if not names or not known or range_of(patient):
        yield from _not_tested(patient, "it has no batch norm with statistics of a training" if not names else "")
        return
    pixels = _pixels(patient)
    here = _distances(patient, patient.images, names[:1])
    there = {one: _distances(patient, _normalised(pixels, one), names[:1]) for one in known}
    best = min(there, key=lambda one: there[one].pooled)
    how, now, then = patient.model.preprocessing, here.pooled, there[best].pooled
    on = counted(patient.n, "photograph")
    nearer = float((there[best].each[:, 0] < here.each[:, 0]).double().mean())
    if now >= FAR and then <= min(NEAR, now / TIMES) and nearer >= 0.6:
        sure = _mean_probability(patient, patient.images), _mean_probability(patient, _normalised(pixels, best))
        yield Finding(
            "wrong_normalisation",
            "warning",
            f"with mean {rounded(how.mean)} and std {rounded(how.std)}, {on} are far from what the "
            f"batch norm {names[0]} saw in training (D {now:.2g}); with mean {rounded(best.mean)} and std "
            f"{rounded(best.std)} ({best.name}) they are near ({then:.2g}, for {nearer:.0%}){_sureness(*sure)}",
            "it uses the constants that the model was given",
            f"tp.wrap(..., mean={_argument(best.mean)}, std={_argument(best.std)}), if that is how the network was trained",
        )
    elif assumed(patient) and now < FAR:
        what = f"mean and std are assumed, and fit: D at {names[0]} is {now:.2g} on {on}"
        yield Finding("assumed_normalisation", "note", what, "it uses ImageNet's", "give tp.wrap the mean and std, to be sure")
    else:
        yield from _not_tested(patient, "")


def _not_tested(patient: Patient, why: str) -> Iterator[Finding]:
    """Yields the model's own caution that its constants are assumed, where no test says that they fit."""
    if assumed(patient):
        done = "it uses them, warns once and notes it with every map"
        what = f"{assumed(patient).partition(':')[0]}{f', and this cannot be tested: {why}' if why else ''}"
        yield Finding("assumed_normalisation", "warning", what, done, "give tp.wrap the mean and std that it was trained with")


def _sureness(now: float | None, then: float | None) -> str:
    if now is None or then is None:
        return ""
    return f"; the mean probability of the first class goes from {now:.2f} to {then:.2f}"


def _argument(numbers: tuple[float, ...]) -> str:
    return f"({', '.join(f'{one:.4g}' for one in numbers)}{',' * (len(numbers) == 1)})"


@check(pictures=8)
def channel_order(patient: Patient) -> Iterator[Finding]:
    """Reports photographs that fit the network better with red and blue exchanged, by its batch norms and by its answers."""
    names = _trained(patient)
    if patient.model.channels != 3 or len(names) < 3 or range_of(patient) or patient.images is None:
        return
    first = names[: max(3, len(names) // 3)]
    swapped = patient.images.flip(1) if _alike_channels(patient) else _swapped(patient)
    ratio = ((_distances(patient, patient.images, first).each + 0.05) / (_distances(patient, swapped, first).each + 0.05)).log()
    gain = ratio.mean(1)
    spread = float(gain.std())
    standard = float(gain.mean()) / (spread / patient.n**0.5) if spread > 0 else 0.0
    if standard < SURE:
        return
    now, then = _mean_probability(patient, patient.images), _mean_probability(patient, swapped)
    if now is not None and then is not None and then < now - 0.02:
        return
    yield Finding(
        "channel_order",
        "warning",
        f"{counted(patient.n, 'photograph')} fit {counted(len(first), 'early batch norm')} better with red and blue exchanged, "
        f"by {standard:.1f} standard errors (nearer on {float((gain > 0).double().mean()):.0%} of them){_sureness(now, then)}",
        "it gives channels in the order red, green, blue",
        "if the network was trained on BGR, as OpenCV reads files, say tp.wrap(..., call=lambda net, x: net(x.flip(1)))",
    )


# --- measuring


class _Distances(NamedTuple):
    """Divergences D: of each photograph at each batch norm (n, b), and of all photographs together at the first."""

    each: Tensor
    pooled: float


def _trained(patient: Patient) -> list[str]:
    """Returns the batch norms that hold statistics of a training, in the order in which they run."""
    if patient.untrained or not patient.norms:
        return []
    order = patient.model.survey.order
    ran = sorted((name for name in patient.norms if name in order), key=order.index)
    return [name for name in ran if _settled(patient.norms[name])]


def _settled(norm: nn.Module) -> bool:
    """Checks whether the statistics of a batch norm are of a training; after a few batches they still hold their start."""
    counted = norm._buffers.get("num_batches_tracked")
    seen = 0 if counted is None else int(counted)  # 0: files of weights may lack the count
    return bool((norm.get_buffer("running_var") != 1).any()) and (seen == 0 or seen >= BATCHES)


def _pixels(patient: Patient) -> Tensor:
    images, how = patient.images, patient.model.preprocessing
    assert images is not None
    return images * images.new_tensor(how.std).view(1, -1, 1, 1) + images.new_tensor(how.mean).view(1, -1, 1, 1)


def _normalised(pixels: Tensor, how: Constants) -> Tensor:
    return (pixels - pixels.new_tensor(how.mean).view(1, -1, 1, 1)) / pixels.new_tensor(how.std).view(1, -1, 1, 1)


def _swapped(patient: Patient) -> Tensor:
    how = patient.model.preprocessing
    return _normalised(_pixels(patient).flip(1), Constants("", how.mean, how.std))


def _alike_channels(patient: Patient) -> bool:
    how = patient.model.preprocessing
    return len(set(how.mean)) == len(set(how.std)) == 1


def _distances(patient: Patient, images: Tensor | None, names: list[str]) -> _Distances:
    """Measures D at the named batch norms."""
    assert images is not None
    parts = [_moments(patient, some, names) for some in images.split(batch_size(patient.model, "auto", n=len(images)))]
    moments = {name: torch.cat([part[name] for part in parts]) for name in names}
    each = torch.stack([_divergence(found[:, 0], found[:, 1], patient.norms[name]) for name, found in moments.items()], 1)
    first = moments[names[0]]
    mean = first[:, 0].mean(0)
    variance = (first[:, 1] + (first[:, 0] - mean).square()).mean(0)
    return _Distances(each, float(_divergence(mean[None], variance[None], patient.norms[names[0]])))


def _moments(patient: Patient, images: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Returns {batch norm: mean and variance over places (n, 2, c) of what it gets}; the pass ends after the last of them."""
    found: dict[str, Tensor] = {}

    def note(name: str, inputs: tuple[Any, ...], _output: Any) -> None:
        if name not in found:  # the first run, where there are several
            x = inputs[0].double().flatten(2) if inputs[0].ndim > 2 else inputs[0].double()[:, :, None]
            found[name] = torch.stack([x.mean(2), x.var(2, correction=0)], 1)
        if len(found) == len(names):
            raise StopForward

    with torch.no_grad(), hooked([(name, patient.model.replica.get_submodule(name)) for name in names], end=note):
        patient.model(images)
    return found


def _divergence(mean: Tensor, variance: Tensor, norm: nn.Module) -> Tensor:
    """Returns D (n,), the mean over channels; eps keeps channels finite that are always the same."""
    eps = float(getattr(norm, "eps", 1e-5)) + 1e-3
    theirs = norm.get_buffer("running_var").double() + eps
    ratio = (variance + eps) / theirs
    return ((ratio + (mean - norm.get_buffer("running_mean").double()).square() / theirs - 1 - ratio.log()) / 2).mean(-1)


def _mean_probability(patient: Patient, images: Tensor | None) -> float | None:
    """Returns the mean probability of the first class; None for answers without classes."""
    try:
        if images is None or patient.answer.kind != "table" or patient.answer.read.kind != "classes":
            return None
        parts = images.split(batch_size(patient.model, "auto", n=len(images)))
        return float(torch.cat([patient.probabilities_on(one).amax(1) for one in parts]).mean())
    except TapetumError:
        return None
