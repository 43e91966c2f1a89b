"""Six networks with weights set by hand, and pictures whose true explanation is known for every place.

A picture has 4 x 4 places of 8 x 8 px. Some hold a pattern, the others faint noise. The first convolution has one filter per
pattern and reads each place once: a = relu((r - 1/4) / (3/4)) is 1 where its pattern is and 0 elsewhere, since the patterns
are orthogonal and of mean zero; a place that is hidden by any one colour, or blurred, gives 0, too. What the network then does
with the numbers a is its question. The truth is the Shapley value of each place: exact, since few places count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap
from tapetum.types import Attribution

CELLS, SIDE = 4, 8
"""Places per side of a picture, and pixels per side of a place."""

AMPLITUDE, NOISE, DEAD = 0.8, 0.1, 0.25
"""Of patterns and of noise, in the network's units [-1, 1]; responses below `DEAD` count as 0."""

GAIN = 3.0
"""The logits are GAIN (f - 1/2) and the opposite of it: the probability is .05 where f = 0 and .95 where f = 1."""

_FINE = torch.tensor([1.0, -1] * 4, dtype=torch.float64)
_COARSE = torch.tensor([1.0, 1, -1, -1] * 2, dtype=torch.float64)
_FLAT = torch.ones(SIDE, dtype=torch.float64)

PATTERNS: Mapping[str, Tensor] = {
    "a": torch.outer(_FINE, _FINE),
    "b": torch.outer(_COARSE, _COARSE),
    "c": torch.outer(_FINE, _COARSE),
    "stripes": torch.outer(_FLAT, _FINE),
    "bars": torch.outer(_FINE, _FLAT),
    "waves": torch.outer(_COARSE, _FINE),
}
"""{name: (8, 8) of -1 and 1}, orthogonal to each other and to any constant. No network reads the last three."""


@dataclass(frozen=True)
class Shown:
    """A pattern at some place of every picture: in all colours or in one, its true value, and its place where that is fixed."""

    pattern: str
    value: float = 0.0
    channel: int | None = None
    place: int | None = None


@dataclass(frozen=True, eq=False)
class ExamNetwork:
    """A network with weights set by hand, n pictures, and the true explanation of the logit of class 0, its answer.

    question   what decides, in words
    images     (n, 3, 32, 32) float64, model-ready: pixels in [0, 1] less a half, times two
    truth      (n, 3, 32, 32) Shapley value of the places, spread evenly over their pixels: its sum is f(picture) - f(grey)
    decoys     (n, 4, 4) True where a pattern is shown that does not count
    """

    name: str
    question: str
    model: VisionModel
    images: Tensor
    truth: Tensor
    decoys: Tensor
    target: int = 0

    @property
    def places(self) -> Tensor:
        """True value of each place, (n, 4, 4), in units of the logit."""
        return by_place(self.truth.sum(1)) * SIDE**2

    @property
    def masks(self) -> Tensor:
        """True at the pixels of the places that speak for the answer, (n, 32, 32)."""
        return self.truth.sum(1) > 0

    @property
    def perfect(self) -> Attribution:
        """The truth in the form of a method's map."""
        return self.as_map(self.truth)

    def as_map(self, values: Tensor, method: str = "truth") -> Attribution:
        """Returns values (n, c, h, w) as an attribution of these pictures' answer."""
        n, size = len(values), (CELLS * SIDE, CELLS * SIDE)
        return Attribution(values, method, ("ok",) * n, ("yes",) * n, size, (self.target,) * n)


class _Reader(nn.Module):
    """Network of one filter per pattern that it reads, what it does with their answers, and two logits: yes and no."""

    def __init__(self, filters: Tensor, rest: nn.Module) -> None:
        super().__init__()
        self.read = nn.Conv2d(3, len(filters), SIDE, stride=SIDE)
        self.fire = nn.ReLU()
        self.rest = rest
        _set(
            self.read, filters / (AMPLITUDE * (1 - DEAD)), torch.full((len(filters),), -DEAD / (1 - DEAD), dtype=torch.float64)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.rest(self.fire(self.read(images)))


def exam_networks(n: int = 10, seed: int = 0) -> tuple[ExamNetwork, ...]:
    """Builds six networks with weights set by hand, whose true explanation is known: the exam of methods and metrics.

    interaction    a AND b: both places are needed
    cancellation   a + b - c: two places cancel each other, a third decides
    saturation     a OR b: one of two places is enough
    inhibition     a, weakened to half by b, which speaks against
    position       a counts at one place, and nowhere else
    colour         a counts in red, and in no other colour

    Every picture also shows patterns that do not count, as strong as the others. The weights are float64; the truth is the
    Shapley value of each place.

    Args:
        n: pictures per network; the patterns' places are drawn for each.
        seed: of these places.

    Example:
        >>> one = tp.exam_networks(n=2)[0]
        >>> print(one.name, one.question, tp.predict(one.model, one.images, k=1)[0][0])
    """
    makers = (_interaction, _cancellation, _saturation, _inhibition, _position, _colour)
    return tuple(make(n, seed) for make in makers)


# --- the networks


def _interaction(n: int, seed: int) -> ExamNetwork:
    rest = _hidden(_rows([1, 1]), [-1], [1])
    shown = [Shown("a", 0.5), Shown("b", 0.5), Shown("stripes"), Shown("bars")]
    return _built("interaction", "a and b: both places are needed", ["a", "b"], rest, shown, n, seed)


def _cancellation(n: int, seed: int) -> ExamNetwork:
    shown = [Shown("a", 1.0), Shown("b", 1.0), Shown("c", -1.0), Shown("stripes"), Shown("bars"), Shown("waves")]
    words = "a + b - c: b and c cancel each other, a decides"
    return _built("cancellation", words, ["a", "b", "c"], _linear([1, 1, -1]), shown, n, seed)


def _saturation(n: int, seed: int) -> ExamNetwork:
    rest = _hidden(_rows([1, 1], [1, 1]), [0, -1], [1, -1])
    shown = [Shown("a", 0.5), Shown("b", 0.5), Shown("stripes"), Shown("bars")]
    return _built("saturation", "a or b: one of two places is enough", ["a", "b"], rest, shown, n, seed)


def _inhibition(n: int, seed: int) -> ExamNetwork:
    rest = _hidden(_rows([1, -0.5]), [0], [1])
    shown = [Shown("a", 0.75), Shown("b", -0.25), Shown("stripes"), Shown("bars")]
    return _built("inhibition", "a, weakened to half by b, which speaks against", ["a", "b"], rest, shown, n, seed)


def _position(n: int, seed: int) -> ExamNetwork:
    counts = 5  # row 1, column 1: no corner, no middle
    weight = torch.zeros(1, CELLS**2)
    weight[0, counts] = 1
    rest = nn.Sequential(nn.Flatten(), _answer(weight))
    shown = [Shown("a", 1.0, place=counts), Shown("a"), Shown("a"), Shown("stripes")]
    return _built("position", "a at one place, and nowhere else", ["a"], rest, shown, n, seed)


def _colour(n: int, seed: int) -> ExamNetwork:
    shown = [Shown("a", 1.0, channel=0), Shown("a", channel=1), Shown("a", channel=2), Shown("bars", channel=0)]
    return _built("colour", "a in red, and in no other colour", ["a"], _linear([1]), shown, n, seed, channel=0)


# --- their parts


def _built(
    name: str,
    question: str,
    reads: Sequence[str],
    rest: nn.Module,
    shown: Sequence[Shown],
    n: int,
    seed: int,
    channel: int | None = None,
) -> ExamNetwork:
    filters = torch.stack([_in_channels(PATTERNS[pattern] / SIDE**2, channel) for pattern in reads])
    share = 1 if channel is not None else 3  # of the mean over three equal channels
    module = _Reader(filters / share, rest).double().eval()
    model = wrap(module, size=CELLS * SIDE, mean=0.5, std=0.5, labels=["yes", "no"], outputs="logits", name=f"exam_{name}")
    images, truth, decoys = _pictures(shown, n, torch.Generator().manual_seed(seed))
    return ExamNetwork(name, question, model, images, truth, decoys)


def _pictures(shown: Sequence[Shown], n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws n pictures: returns images and truths (n, 3, 32, 32), and the places of decoys (n, 4, 4)."""
    noise = torch.rand(n, CELLS**2, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    cells, truth = NOISE * (2 * noise - 1), torch.zeros(n, CELLS**2, 3, SIDE, SIDE, dtype=torch.float64)
    decoys = torch.zeros(n, CELLS**2, dtype=torch.bool)
    fixed = [one.place for one in shown if one.place is not None]
    for row in range(n):
        drawn = torch.randperm(CELLS**2, generator=generator).tolist()
        free = iter([place for place in drawn if place not in fixed])
        for one in shown:
            place = next(free) if one.place is None else one.place
            cells[row, place] = AMPLITUDE * _in_channels(PATTERNS[one.pattern], one.channel)
            ones = _in_channels(torch.ones(SIDE, SIDE, dtype=torch.float64), one.channel)
            truth[row, place] = GAIN * one.value * ones / ones.sum()
            decoys[row, place] = one.value == 0
    return _joined(cells), _joined(truth), decoys.reshape(n, CELLS, CELLS)


def _in_channels(pattern: Tensor, channel: int | None) -> Tensor:
    """Returns a pattern (3, 8, 8) in all colours, or in one with the others grey."""
    colours = torch.ones(3) if channel is None else torch.eye(3)[channel]
    return colours.double()[:, None, None] * pattern


def _joined(cells: Tensor) -> Tensor:
    """Joins places (n, 16, 3, 8, 8) to pictures (n, 3, 32, 32)."""
    n = len(cells)
    grid = cells.reshape(n, CELLS, CELLS, 3, SIDE, SIDE)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(n, 3, CELLS * SIDE, CELLS * SIDE).contiguous()


def by_place(maps: Tensor) -> Tensor:
    """Returns the mean of maps (n, 32, 32) at each place, (n, 4, 4)."""
    return maps.reshape(len(maps), CELLS, SIDE, CELLS, SIDE).mean((2, 4))


def _rows(*rows: Sequence[float | int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _hidden(weight: Tensor, bias: Sequence[float | int], answer: Sequence[float | int]) -> nn.Module:
    """Head of one hidden layer on the sums over places: answer . relu(weight . sums + bias)."""
    hidden = nn.Linear(weight.shape[1], weight.shape[0])
    _set(hidden, weight * CELLS**2, torch.tensor(bias))  # the mean over places times their number is the sum
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), hidden, nn.ReLU(), _answer(_rows(answer)))


def _linear(answer: Sequence[float | int]) -> nn.Module:
    """Head without hidden layer: answer . sums over places."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), _answer(_rows(answer) * CELLS**2))


def _answer(weight: Tensor) -> nn.Linear:
    """Layer of the two logits of f = weight . input: GAIN (f - 1/2) and the opposite."""
    both = torch.cat([weight, -weight]).double()
    layer = nn.Linear(weight.shape[1], 2)
    _set(layer, GAIN * both, torch.tensor([-GAIN / 2, GAIN / 2]))
    return layer


def _set(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight = nn.Parameter(weight.double())
    layer.bias = nn.Parameter(bias.double())
