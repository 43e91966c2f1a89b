"""Sparse autoencoders, trained here: TopK codes, and Matryoshka ones, whose first concepts rebuild the layer by themselves.

z = the k largest of max(0, E (x - b) + e), rebuilt as b + z D with rows of D of length 1 (makhzani2014ksparse, gao2024scaling).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tapetum.engines.dictionaries import largest
from tapetum.types.dictionaries import Dictionary

STEPS, ROWS, RATE = 400, 256, 1e-2
"""Steps of Adam, rows of each, and its rate, which falls to zero over the last half."""

SILENT = 50
"""Steps without a single row after which a concept counts as dead and learns from what the others leave over."""

AUXILIARY = 1 / 32
"""Weight of the loss of dead concepts, as in gao2024scaling."""


def active(n: int) -> int:
    """Returns how many of n concepts may be active at a place: an eighth, at least two."""
    return min(n, max(2, n // 8))


def sae(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Sparse autoencoder with TopK codes; the strongest concept first."""
    found = trained(rows, _directions(n, rows, generator), generator, (n,))
    order = _energy(found, rows).argsort(descending=True, stable=True)
    return _ordered(found, order)


def matryoshka(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Sparse autoencoder whose first n / 8, n / 4, n / 2 concepts rebuild the rows by themselves (bussmann2025matryoshka).

    Paper: the k largest codes of a whole batch (BatchTopK); here: of each row, as in `sae`, so that a row's code is its own.
    """
    prefixes = sorted({max(2, n // 8), max(2, n // 4), max(2, n // 2), n})
    return trained(rows, _directions(n, rows, generator), generator, [one for one in prefixes if one <= n])


def _directions(n: int, rows: Tensor, generator: Generator) -> Tensor:
    return F.normalize(torch.randn(n, rows.shape[1], generator=generator, dtype=torch.float64).to(rows), dim=1)


def trained(rows: Tensor, start: Tensor, generator: Generator, prefixes: Sequence[int], *, frozen: bool = False) -> Dictionary:
    """Trains an autoencoder from directions D (n, c), with E = D at the start; `frozen` keeps D as it is.

    Loss: |x - x'|^2 / |x - mean|^2, averaged over codes cut to each of the prefixes; and of dead concepts, how well
    they rebuild what the others leave over.
    """
    mean = rows.mean(0)
    scale = (rows - mean).square().mean().sqrt().clamp(min=torch.finfo(rows.dtype).tiny)
    x, k = (rows - mean) / scale, active(len(start))
    decoder, encoder = start.clone(), start.clone()
    bias, offset = start.new_zeros(len(start)), start.new_zeros(start.shape[1])
    learned = [encoder, bias, offset, *([] if frozen else [decoder])]
    silent = torch.zeros(len(start), dtype=torch.long, device=rows.device)
    with torch.enable_grad():
        for one in learned:
            one.requires_grad_()
        adam = torch.optim.Adam(learned, RATE)
        falling = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: min(1.0, 2 * (1 - step / STEPS)))
        for _ in range(STEPS):
            some = x[torch.randint(len(x), (ROWS,), generator=generator).to(x.device)]
            silent = _step(some, decoder, (encoder, bias, offset), k, prefixes, silent, adam)
            falling.step()
            with torch.no_grad():
                decoder.copy_(F.normalize(decoder, dim=1))
    parts = [one.detach() for one in (decoder, encoder, bias, offset)]
    return Dictionary("sparse", parts[0], mean + scale * parts[3], parts[1], scale * parts[2], k)


def _step(
    x: Tensor,
    decoder: Tensor,
    code: tuple[Tensor, Tensor, Tensor],
    k: int,
    prefixes: Sequence[int],
    silent: Tensor,
    adam: torch.optim.Adam,
) -> Tensor:
    """Makes one step of Adam; returns for how many steps each concept has been silent."""
    encoder, bias, offset = code
    values = (x - offset) @ encoder.T + bias
    codes = largest(values, k)
    errors = [x - offset - codes[:, :size] @ decoder[:size] for size in prefixes]
    power = x.square().mean()
    loss = torch.stack([one.square().mean() for one in errors]).mean() / power
    dead = silent > SILENT
    if bool(dead.any()):
        rest = largest(values.masked_fill(~dead, -torch.inf), min(2 * k, int(dead.sum())))
        loss = loss + AUXILIARY * (errors[-1].detach() - rest @ decoder).square().mean() / power
    adam.zero_grad()
    torch.autograd.backward(loss, inputs=[one for group in adam.param_groups for one in group["params"]])
    adam.step()
    return torch.where((codes > 0).any(0), 0, silent + 1)


def _energy(found: Dictionary, rows: Tensor) -> Tensor:
    values = (rows - found.offset) @ found.encoder.T + found.bias
    return largest(values, found.active).square().sum(0)


def _ordered(one: Dictionary, order: Tensor) -> Dictionary:
    return Dictionary(one.code, one.directions[order], one.offset, one.encoder[order], one.bias[order], one.active)
