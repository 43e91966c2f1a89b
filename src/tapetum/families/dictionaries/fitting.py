"""One table of methods that find directions, each with the frozen random dictionary that stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tapetum.families.dictionaries.linear import ica, pca, units
from tapetum.families.dictionaries.parts import kmeans, nmf
from tapetum.families.dictionaries.sparse import matryoshka, sae, trained
from tapetum.types import MethodError
from tapetum.types.dictionaries import Dictionary, DictionaryMethod, empty

Fit = Callable[[Tensor, int, Generator], Dictionary]
"""(rows (m, c), number of concepts, generator) -> dictionary."""


# --- frozen random directions, with numbers drawn for each channel in proportion to its own spread


def _drawn(rows: Tensor, n: int, generator: Generator) -> Tensor:
    spread = rows.std(0)
    return torch.randn(n, rows.shape[1], generator=generator, dtype=torch.float64).to(rows) * spread


def _random_basis(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    directions = torch.linalg.qr(_drawn(rows, n, generator).T).Q.T
    return Dictionary("linear", directions, rows.mean(0), directions, rows.new_zeros(n))


def _random_mixture(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    directions = F.normalize(_drawn(rows, n, generator), dim=1)
    return Dictionary("linear", directions, rows.mean(0), torch.linalg.pinv(directions).T, rows.new_zeros(n))


def _random_parts(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    directions = F.normalize(_drawn(rows, n, generator).abs(), dim=1)
    channels = rows.shape[1]
    return Dictionary("nonnegative", directions, rows.new_zeros(channels), empty(channels), rows.new_zeros(n))


def _random_centres(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    centres = _drawn(rows, n, generator)
    sizes = centres.norm(dim=1)
    return Dictionary("nearest", centres / sizes[:, None], rows.mean(0), empty(rows.shape[1]), sizes)


def _random_decoder(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """A frozen random decoder with an encoder that is trained: what sparse autoencoders are held against."""
    return trained(rows, F.normalize(_drawn(rows, n, generator), dim=1), generator, (n,), frozen=True)


@dataclass(frozen=True)
class Finder:
    """A method: how it is fitted, what stands for chance, the precision of the fit, and the most concepts of c channels."""

    fit: Fit
    chance: Fit
    dtype: torch.dtype
    most: Callable[[int], int]


def _as_channels(channels: int) -> int:
    return channels


def _many(_: int) -> int:
    return 16_384


METHODS: dict[DictionaryMethod, Finder] = {
    "nmf": Finder(nmf, _random_parts, torch.float32, _as_channels),
    "pca": Finder(pca, _random_basis, torch.float64, _as_channels),
    "ica": Finder(ica, _random_mixture, torch.float64, _as_channels),
    "kmeans": Finder(kmeans, _random_centres, torch.float32, _many),
    "sae": Finder(sae, _random_decoder, torch.float32, _many),
    "matryoshka": Finder(matryoshka, _random_decoder, torch.float32, _many),
    "units": Finder(units, _random_basis, torch.float64, _as_channels),
}


def check(method: DictionaryMethod, n: int, rows: Tensor) -> None:
    """Refuses rows that no dictionary can be made of, and a number of concepts that the method cannot find in them."""
    most = min(METHODS[method].most(rows.shape[1]), len(rows))
    if not 1 <= n <= most:
        raise MethodError(f"{method} finds 1 to {most} concepts in {len(rows)} places of {rows.shape[1]} channels, not {n}")
    if not bool((rows.std(0) > 0).any()):
        raise MethodError("the layer is the same at every place of these pictures: it has no directions to find")
    if method == "nmf" and bool((rows < 0).any()):
        raise MethodError(
            "nmf needs a layer without negative values, such as a ReLU's output; here pca, ica, kmeans, sae and matryoshka work"
        )


def fitted(method: DictionaryMethod, rows: Tensor, n: int, seed: int) -> Dictionary:
    """Returns the dictionary that a method finds in rows (m, c), in double precision."""
    return _made(METHODS[method].fit, METHODS[method].dtype, rows, n, seed)


def random(method: DictionaryMethod, rows: Tensor, n: int, seed: int) -> Dictionary:
    """Returns frozen random directions with the method's kind of code, in double precision."""
    return _made(METHODS[method].chance, METHODS[method].dtype, rows, n, seed)


def _made(fit: Fit, dtype: torch.dtype, rows: Tensor, n: int, seed: int) -> Dictionary:
    found = fit(rows.to(dtype), n, Generator().manual_seed(seed))
    parts = {name: getattr(found, name).double() for name in ("directions", "offset", "encoder", "bias")}
    made = replace(found, **parts)
    if not all(bool(part.isfinite().all()) for part in parts.values()) or not bool(made.directions.any(1).all()):
        raise MethodError(f"these activations have no {n} different directions: ask for fewer concepts")
    return replace(made, directions=F.normalize(made.directions, dim=1))
