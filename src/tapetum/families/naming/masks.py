"""Names from masks: the things in the pictures that a unit's highest places cover, after NetDissect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.streams import Source
from tapetum.engines.dictionaries import code_maps
from tapetum.engines.probe import capture
from tapetum.engines.ranks import auc_of_ranks
from tapetum.engines.shares import sign_test
from tapetum.engines.similarity import ranks
from tapetum.families.naming.judging import Judged
from tapetum.families.naming.reading import pictures
from tapetum.families.naming.subjects import Subject
from tapetum.families.naming.terms import Terms, choosing
from tapetum.families.verdicts.judging import holm
from tapetum.models.vision_model import VisionModel
from tapetum.progress import stage
from tapetum.types import LayerError, MethodError

HIGHEST = 0.005
"""Share of a unit's values over all places of all pictures that count as its highest places (bau2017netdissect)."""

LEAST_PAIRS = 8
"""Pairs of pictures that a test takes: p = .004 at best."""


@dataclass(frozen=True, eq=False)
class _Place:
    """A network and what is named in it, the pictures, and the masks (t, n, h, w) of the things in them."""

    model: VisionModel
    named: Subject
    source: Source
    samples: Sequence[int]
    masks: Tensor
    batch: int

    def maps(self, rows: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Yields rows and the layer's maps (k, c, h, w) of some pictures, batch by batch."""
        samples, refusal = [self.samples[row] for row in rows], "each mask needs its picture, and {}; leave both out"
        layer, code = self.named.layer, self.named.code
        with stage(f"{len(rows)} pictures at {layer}"):
            for part, images in pictures(self.model, self.source, samples, self.batch, refusal):
                with torch.no_grad(), capture(self.model, [layer]) as acts:
                    self.model(images)
                found = acts[layer]
                if found.ndim != 4 or len(found) != len(part):
                    raise LayerError(f"{layer} gives no map (n, c, h, w), which masks are compared with")
                wide = found.double().cpu()
                yield [rows[place] for place in part], wide if code is None else code_maps(code, wide)

    def large(self, maps: Tensor) -> Tensor:
        """Returns maps at the size of the masks, (k, c, H, W)."""
        return F.interpolate(maps, self.masks.shape[-2:], mode="bilinear", align_corners=False)


def judged_by_masks(
    model: VisionModel,
    named: Subject,
    source: Source,
    samples: Sequence[int],
    masks: Mapping[str, Tensor],
    batch: int,
    seed: int,
) -> Judged:
    """Names units by masks {name: (n, h, w)} of all pictures of the source.

    IoU = number of places where the unit is above its own quantile .995 and the mask is true, over the number where either is.
    A third of the pictures chooses the mask of the highest IoU, the others judge it by IoU, AUC, and p. p is that of a sign
    test over pairs of pictures: do maps fit their own masks better than each other's? Those of a unit that prefers the middle
    of every picture do not.
    """
    names = tuple(masks)
    place = _Place(model, named, source, samples, _checked(masks, len(source.ids))[:, samples], batch)
    present = Terms(names, place.masks.flatten(2).any(2).T)
    ids = [source.ids[sample] for sample in samples]
    choose = choosing(present, ids, seed)
    rows, others = choose.nonzero().flatten().tolist(), (~choose).nonzero().flatten().tolist()
    quantile = _quantile(place, range(len(samples)))
    best = _overlap(place, rows, quantile).argmax(1)  # (c,)
    iou = _overlap(place, others, quantile)[torch.arange(len(best)), best]
    own, other, counts, p = _paired(place, others, best)
    chosen, corrected = tuple(names[i] for i in best.tolist()), torch.tensor(holm(p), dtype=torch.float64)
    return Judged(chosen, own, corrected, counts, other, len(rows), len(others), len(names), iou=iou)


def _checked(masks: Mapping[str, Tensor], n: int) -> Tensor:
    """Returns masks as one tensor (t, n, h, w) bool; refuses other shapes."""
    found = [torch.as_tensor(one).cpu() for one in masks.values()]
    if not found or any(one.ndim != 3 or len(one) != n or one.shape != found[0].shape for one in found):
        shapes = ", ".join(str(tuple(one.shape)) for one in found)
        raise MethodError(
            f"masks are {{name: ({n}, h, w)}}, one for each picture as the network sees it, not {shapes or 'none'}"
        )
    return torch.stack(found) > 0


def _quantile(place: _Place, rows: Sequence[int]) -> Tensor:
    """Returns the value (c,) that each unit exceeds on the share `HIGHEST` of all places, from its highest values alone."""
    kept, count = torch.zeros(0), 0
    for _, maps in place.maps(rows):
        count += len(maps) * maps[0, 0].numel()
        values = maps.transpose(0, 1).flatten(1)
        kept = torch.cat([kept, values], 1) if kept.numel() else values
        most = math.ceil(HIGHEST * len(rows) * maps[0, 0].numel()) + 1
        kept = kept.topk(min(most, kept.shape[1]), 1).values
    return kept[:, min(math.ceil(HIGHEST * count), kept.shape[1] - 1)]


def _overlap(place: _Place, rows: Sequence[int], quantile: Tensor) -> Tensor:
    """Returns the intersection over union (c, t) of each unit's highest places and each mask, over some pictures."""
    both = either = torch.zeros(len(quantile), len(place.masks), dtype=torch.float64)
    for some, maps in place.maps(rows):
        high = (place.large(maps) > quantile[:, None, None]).transpose(0, 1).flatten(1).double()  # (c, places)
        inside = place.masks[:, some].flatten(1).double()  # (t, places)
        shared = high @ inside.T
        both = both + shared
        either = either + high.sum(1)[:, None] + inside.sum(1)[None] - shared
    return torch.where(either > 0, both / either.clamp(min=1), 0)


def _paired(place: _Place, rows: Sequence[int], best: Tensor) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Returns for each unit's mask the mean AUC in the picture of the mask and in another one, the pictures, and p-values."""
    covered = place.masks.flatten(2).double().mean(2)
    partial = (covered > 0) & (covered < 1)  # (t, n)
    partner = {t: _partners([row for row in rows if bool(partial[t, row])]) for t in set(best.tolist())}
    own, other = (torch.full((len(place.samples), len(best)), torch.nan, dtype=torch.float64) for _ in range(2))
    for some, maps in place.maps(rows):
        order = ranks(place.large(maps).flatten(2).flatten(0, 1)).reshape(len(some), len(best), -1)
        for i, row in enumerate(some):
            for t in partner:
                if row in partner[t]:
                    units = best == t
                    own[row, units] = _place_auc(order[i, units], place.masks[t, row])
                    other[row, units] = _place_auc(order[i, units], place.masks[t, partner[t][row]])
    counts = own.isfinite().sum(0)
    p = [_sign_test(own[:, c], other[:, c], partner[t]) for c, t in enumerate(best.tolist())]
    return own.nanmean(0).nan_to_num(nan=0.5), other.nanmean(0).nan_to_num(nan=0.5), counts, p


def _partners(rows: Sequence[int]) -> dict[int, int]:
    """Returns {row: the row that it is paired with}, in pairs of neighbours; an odd last one has no partner."""
    pairs = list(zip(rows[::2], rows[1::2], strict=False))
    return dict(pairs) | {b: a for a, b in pairs}


def _place_auc(order: Tensor, mask: Tensor) -> Tensor:
    """Returns P(a place inside the mask is higher than one outside) + P(equal) / 2 from ranks (c, places)."""
    inside = mask.flatten().double()
    return auc_of_ranks(order @ inside, inside.sum(), inside.numel())


def _sign_test(own: Tensor, other: Tensor, partner: Mapping[int, int]) -> float:
    """Returns P(at least so many pairs of pictures whose maps fit their own masks better), if masks were dealt out by lot."""
    more = torch.tensor([float(own[a] + own[b] - other[a] - other[b]) for a, b in partner.items() if a < b])
    won, pairs = int((more > 1e-9).sum()), len(more)
    if pairs < LEAST_PAIRS:
        return 1.0
    return sign_test(won, pairs)
