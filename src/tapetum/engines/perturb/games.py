"""Segments of an image as players of a game: scores of coalitions, the visible segments, and samples of coalitions."""

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
from tapetum.progress import SoFar
from tapetum.types import Batch


class Game:
    """Score of one image as a function of the segments that are visible (a coalition); each coalition is scored only once.

    players   number of segments
    """

    def __init__(self, score: ModelScore, image: Tensor, segments: Tensor, fill: Tensor, *, batch: int, row: int) -> None:
        self.players = int(segments.max()) + 1
        self._segments = segments
        self._image = image
        self._under: Callable[[Tensor, SoFar | None], Iterator[tuple[Tensor, Tensor]]] = lambda present, so_far: scores_under(
            score, image, coalitions(segments, present), fill, batch=batch, row=row, unit="coalitions", so_far=so_far
        )
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, present: Tensor, shown: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        """Returns the scores (m,) of m coalitions (m, k), where 1 marks a visible segment and 0 a hidden one.

        shown: function of the places in `present` that are scored so far, at least the first, and their scores, that returns
            the value of each player (k,), for those who watch.
        """
        keys = [bytes(row) for row in present.to(torch.uint8).tolist()]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            left, rows = iter(new), present[list(new.values())].to(self._image)

            def so_far() -> Tensor:
                assert shown is not None
                places = [place for place, key in enumerate(keys) if key in self._known]
                values = torch.stack([self._known[keys[place]] for place in places])
                return self.paint(shown(torch.tensor(places), values))[None]

            for _, values in self._under(rows, None if shown is None else so_far):
                self._known.update(zip(itertools.islice(left, len(values)), values, strict=True))
        return torch.stack([self._known[key] for key in keys])

    def paint(self, values: Tensor) -> Tensor:
        """Paints a value per player (k,) into a map (1, h, w): every pixel gets the value of its segment."""
        return segments_painted(self._segments, values.to(self._image))


def games(score: ModelScore, images: Tensor, segments: Tensor, fill: Tensor, batch: Batch) -> list[Game]:
    size = batch_size(score.model, batch)
    seen, blank = score.model.laid_out(images), score.model.laid_out(fill)
    rows = [(row, slice(row, row + 1)) for row in range(len(images))]
    return [Game(score, seen[one], segments[row], blank[one], batch=size, row=row) for row, one in rows]


def replayed(generator: torch.Generator) -> Callable[[], torch.Generator]:
    """Returns a function that creates generators with one seed, so that draws do not depend on the images before."""
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return lambda: torch.Generator().manual_seed(seed)


def marginals(game: Game, orders: Tensor) -> Tensor:
    """Returns marginal contributions (m, k): how much each player adds to the score of those before it, in each of m orders (m,
    k).
    """
    places = orders.argsort(1)
    present = places[:, None, :] < torch.arange(game.players + 1)[:, None]
    steps = game(present.flatten(0, 1)).view(len(orders), -1).diff(dim=1)
    return steps.gather(1, places.to(steps.device))


class Sample(NamedTuple):
    """Coalitions of k players for the Shapley regression, without the empty and the full one.

    listed    (e, k) all coalitions of the smallest and the largest sizes
    weights   (e,) their weights
    drawn     (p, k) random coalitions of the other sizes; the complement of each, 1 - drawn, belongs to the sample as well
    rest      total weight of the drawn coalitions and their complements
    """

    listed: Tensor
    weights: Tensor
    drawn: Tensor
    rest: float


def shapley_sample(players: int, n: int, generator: torch.Generator) -> Sample:
    """Picks at most n coalitions of k = `players` players, as the shap package does.

    In the Shapley kernel, all coalitions of s players together weigh 1 / (s (k - s)), up to a factor. From s = 1 up, all
    coalitions of s and of k - s players are listed while the share of n that their weight allots to them suffices; the
    coalitions of the other sizes are drawn at random.
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
