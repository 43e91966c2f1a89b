"""Loads weights from the user's files: `.safetensors`, or `.pth`/`.pt`/`.ckpt` of any trainer, matched by names and shapes.

Every weight of the network must be in the file. Other tensors in the file are named in a note; if they look like parts of a
larger network, the file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tapetum.files import shown
from tapetum.models.zoo.checkpoints import read_tables
from tapetum.types import ModelError

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts of names that torch's wrappers add, at any depth."""

DERIVED = ("num_batches_tracked", "total_ops", "total_params", "n_averaged", "position_ids", "relative_position_index",
           "relative_coords_table", "attn_mask")  # fmt: skip
"""Last parts of the names of buffers that are not weights: counters, and tables that networks recompute."""

SECOND = ("ema", "momentum", "teacher", "target", "averaged", "swa", "discriminator")
"""Words in the names of second networks, such as averages, that trainers store beside the network itself."""


@dataclass(frozen=True)
class PrefixFit:
    """Match of a table of tensors in a file with the module, once a prefix is removed from the table's names.

    place    where the table is in the file, with the prefix
    named    tensors for the module, {name in the module: tensor}
    left     names in the table that the module does not have
    missing  names in the module that the table does not have
    other    names of tensors with another shape or number type in the table, and how they differ
    inside   those of `left` that look like parts of a larger network
    """

    place: str
    named: Mapping[str, Tensor]
    left: tuple[str, ...]
    missing: tuple[str, ...]
    other: tuple[str, ...]
    inside: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not (self.missing or self.other or self.inside)

    @property
    def first(self) -> bool:
        """Checks whether the table is, by its name, the network itself, not a second one such as an average."""
        return not any(word in SECOND for word in self.place.lower().replace(".", "_").split("_"))


def load_weights(module: nn.Module, path: str | Path) -> tuple[str, ...]:
    """Fills `module` with weights from a file; returns notes on what was left out; refuses a file that does not fit."""
    path = Path(path)
    file = shown(path.name)
    own = module.state_dict()
    if not own:
        raise ModelError(f"{type(module).__name__} has no weights to fill from {file}")
    fits = [fit for place, table in read_tables(path).items() for fit in _fits(own, place, table)]
    found = [fit for fit in fits if fit.whole]
    if not found:
        nearest = max(fits, key=lambda fit: (-len(fit.missing), -len(fit.other), -len(fit.inside)))
        raise ModelError(f"{file} does not fit {type(module).__name__}: {_misfit(nearest)}")
    chosen = _chosen(found, file)
    module.load_state_dict(dict(chosen.named), strict=False)
    return tuple(_notes(chosen, found, file))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the largest table of tensors in a file, {name: tensor}."""
    return max(read_tables(path).values(), key=len)


# --- names


def _fits(own: Mapping[str, Tensor], place: str, table: Mapping[str, Tensor]) -> list[PrefixFit]:
    """Matches a table with the module by every likely prefix, and with what the module wraps if the module is a wrapper."""
    plain = {_plain(name, own): tensor for name, tensor in table.items()}
    fits = [_fit(own, place, plain, prefix) for prefix in _likely(plain, own)]
    outer = _outer(own)  # the user's module may wrap the network in the file
    if outer and not any(fit.whole for fit in fits):
        inner = {name.removeprefix(outer): tensor for name, tensor in own.items()}
        whole = [fit for prefix in _likely(plain, inner) if (fit := _fit(inner, place, plain, prefix)).whole]
        fits += [replace(fit, named={outer + name: one for name, one in fit.named.items()}) for fit in whole]
    return fits


def _plain(name: str, own: Mapping[str, Tensor]) -> str:
    if name not in own:
        for wrapper in WRAPPERS:
            name = name.replace(wrapper, "")
    return name


def _likely(table: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Returns the prefixes whose removal leaves many names of the module: at least half as many as the best prefix."""
    counts = Counter(prefix for name in table for prefix in _prefixes(name, own))
    most = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count >= max(1, most // 2)] or [""]


def _prefixes(name: str, own: Mapping[str, Tensor]) -> list[str]:
    """Returns the prefixes whose removal leaves a name of the module: "model.net." of "model.net.conv.weight"."""
    parts = name.split(".")
    cuts = range(len(parts))
    return [".".join([*parts[:cut], ""]) if cut else "" for cut in cuts if ".".join(parts[cut:]) in own]


def _outer(own: Mapping[str, Tensor]) -> str:
    """Returns the longest path, such as "net.", that all of the module's names begin with; "" if there is none."""
    split = [name.split(".")[:-1] for name in own]
    shared: list[str] = []
    for level in zip(*split, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join([*shared, ""]) if shared else ""


def _fit(own: Mapping[str, Tensor], place: str, table: Mapping[str, Tensor], prefix: str) -> PrefixFit:
    seen = {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}
    parts = {name.partition(".")[0] for name in own}
    missing = [name for name in own if name not in seen and not _derived(name)]
    strange = {name: words for name, tensor in own.items() if name in seen and (words := unlike(seen[name], tensor))}
    other = [f"{name}: {words}" for name, words in strange.items() if not _derived(name)]
    named = {name: seen[name] for name in own if name in seen and name not in strange}
    more = [name for name in seen if name not in own and not _derived(name)]
    inside = [name for name in more if name.partition(".")[0] in parts]
    beside = [name for name in table if not name.startswith(prefix) and not _derived(name)]
    where = ".".join(part for part in (place, prefix.rstrip(".")) if part)
    return PrefixFit(where, named, (*beside, *(prefix + name for name in more)), tuple(missing), tuple(other), tuple(inside))


def unlike(given: Tensor, own: Tensor) -> str:
    """Says why a tensor in the file does not fit the network's: its shape, layout or number type; "" if it fits."""
    if given.shape != own.shape:
        return f"{tuple(given.shape)}, not {tuple(own.shape)}"
    if given.layout != own.layout or given.is_quantized != own.is_quantized or given.is_meta:
        kind = "without values" if given.is_meta else "quantised" if given.is_quantized else str(given.layout)
        return f"{kind.removeprefix('torch.')}, not a plain tensor like the network's"
    if own.is_floating_point() and not given.is_floating_point():
        return f"{given.dtype}, not {own.dtype}".replace("torch.", "")
    return ""


def _derived(name: str) -> bool:
    return name.rpartition(".")[2] in DERIVED


# --- the choice


def _chosen(found: Sequence[PrefixFit], name: str) -> PrefixFit:
    """Chooses among tables that fit: the network itself rather than an average; refuses several that differ."""
    kept = [fit for fit in found if fit.first] or list(found)
    different = [fit for i, fit in enumerate(kept) if not any(_same(fit, earlier) for earlier in kept[:i])]
    if len(different) > 1:
        places = ", ".join(shown(fit.place or "the file itself") for fit in different[:5])
        raise ModelError(f"{name} holds {len(different)} networks that fit ({places}): save the one that is meant alone")
    return different[0]


def _same(a: PrefixFit, b: PrefixFit) -> bool:
    return all(torch.equal(tensor, b.named[name]) for name, tensor in a.named.items() if name in b.named)


def _notes(chosen: PrefixFit, found: Sequence[PrefixFit], name: str) -> list[str]:
    others = [shown(fit.place or "the file itself") for fit in found if fit is not chosen and not _same(fit, chosen)]
    place = shown(chosen.place)
    notes = [f"of {name} the weights under {place} were taken, not those under {', '.join(others)}"] if others else []
    # infinity may be intended, as in attention masks; NaN never is
    broken = [name for name, one in chosen.named.items() if one.is_floating_point() and bool(one.float().isnan().any())]
    if broken:
        notes.append(f"{name} holds NaN in {len(broken)} of its tensors ({', '.join(broken[:3])}): what reads them is NaN too")
    if chosen.left:
        first = ", ".join(map(shown, chosen.left[:3])) + (", ..." if len(chosen.left) > 3 else "")
        many = "1 tensor" if len(chosen.left) == 1 else f"{len(chosen.left)} tensors"
        notes.append(f"{name} holds {many} that the network does not have ({first})")
    return notes


def _misfit(fit: PrefixFit) -> str:
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} tensors are missing ({fit.missing[0]}, ...)")
    if fit.inside:
        parts.append(f"{len(fit.inside)} are unknown ({shown(fit.inside[0])}, ...)")
    if fit.other:
        parts.append(f"{len(fit.other)} differ in shape or kind ({fit.other[0]})")
    return "; ".join(parts)
