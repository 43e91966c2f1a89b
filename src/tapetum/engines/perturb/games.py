"""Segments of an image as players of a game: scores of coalitions, each computed once, and samples of coalitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size
from tapetum.engines.perturb.superpixels import coalitions, segments_painted
from tapetum.engines.perturb.under import scores_under
from tapetum.engines.scores import ModelScore
from tapetum.types import Batch


class Game:
    """Score of one image of which only some segments are visible; scores of coalitions are cached.

    players   number of segments
    """

    def __init__(self, score: ModelScore, image: Tensor, segments: Tensor, fill: Tensor, *, batch: int, row: int) -> None:
        self.players = int(segments.max()) + 1
        self._segments = segments
        self._image = image
        self._under: Callable[[Tensor], Iterator[tuple[Tensor, Tensor]]] = lambda present: scores_under(
            score, image, coalitions(segments, present), fill, batch=batch, row=row, unit="coalitions"
        )
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, present: Tensor) -> Tensor:
        """Scores (m,) of coalitions (m, k) of zeros and ones."""
        keys = [bytes(row) for row in present.to(torch.uint8).tolist()]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            rows = present[list(new.values())].to(self._image)
            found = torch.cat([values for _, values in self._under(rows)])
            self._known.update(zip(new, found, strict=True))
        return torch.stack([self._known[key] for key in keys])

    def paint(self, values: Tensor) -> Tensor:
        """Paints a value per player (k,) into a map (1, h, w) of the image's type."""
        return segments_painted(self._segments, values.to(self._image))


def games(score: ModelScore, images: Tensor, segments: Tensor, fill: Tensor, batch: Batch) -> list[Game]:
    size = batch_size(score.model, batch)
    seen, blank = score.model.laid_out(images), score.model.laid_out(fill)
    rows = [(row, slice(row, row + 1)) for row in range(len(images))]
    return [Game(score, seen[one], segments[row], blank[one], batch=size, row=row) for row, one in rows]


def replayed(generator: torch.Generator) -> Callable[[], torch.Generator]:
    """Generators with one common state: draws for an image must not depend on the images before it."""
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return lambda: torch.Generator().manual_seed(seed)


def marginals(game: Game, orders: Tensor) -> Tensor:
    """Marginal contributions (m, k): gain in score when each player joins those before it, in each order (m, k)."""
    places = orders.argsort(1)
    present = places[:, None, :] < torch.arange(game.players + 1)[:, None]
    steps = game(present.flatten(0, 1)).view(len(orders), -1).diff(dim=1)
    return steps.gather(1, places.to(steps.device))


class Sample(NamedTuple):
    """Coalitions for the Shapley regression, neither empty nor full.

    listed (e, k) with their weights (e,): all coalitions of the smallest and the largest sizes;
    drawn (p, k): random ones of the other sizes, each with its complement (1 - drawn); their total weight is `rest`.
    """

    listed: Tensor
    weights: Tensor
    drawn: Tensor
    rest: float


def shapley_sample(players: int, n: int, generator: torch.Generator) -> Sample:
    """Picks at most n coalitions of k players, as the shap package does.

    In the Shapley kernel, all coalitions of s players together weigh 1 / (s (k - s)), up to a factor. Sizes s and
    k - s are listed while their share of the n coalitions suffices for all of them; the rest is drawn.
    """
    half = players // 2
    twice = {size: 2 - (2 * size == players) for size in range(1, half + 1)}
    shares = {size: twice[size] / (size * (players - size)) for size in twice}
    total, left, listed, weights = sum(shares.values()), n, list[Tensor](), list[float]()
    for size in list(shares):
        many = twice[size] * math.comb(players, size)
        if n < 2**players - 2 and left * shares[size] < many * sum(shares.values()):
            break
        chosen = torch.tensor(list(itertools.combinations(range(players), size)))
        some = torch.zeros(len(chosen), players).scatter(1, chosen, 1)
        listed += [some] if twice[size] == 1 else [some, 1 - some]
        weights += [shares.pop(size) / total / many] * many
        left -= many
    none = torch.zeros(0, players)
    drawn = _drawn(shares, players, left // 2, generator) if shares else none
    return Sample(torch.cat([none, *listed]), torch.tensor(weights), drawn, sum(shares.values()) / total if total else 0.0)


def _drawn(shares: dict[int, float], players: int, n: int, generator: torch.Generator) -> Tensor:
    if n == 0:
        return torch.zeros(0, players)
    sizes = torch.tensor(list(shares))[torch.multinomial(torch.tensor(list(shares.values())), n, True, generator=generator)]
    return (torch.rand(n, players, generator=generator).argsort(1).argsort(1) < sizes[:, None]).float()
