"""Patches: small changes of a model's weights that are kept in a file, made to the same weights alone, and taken back exactly.

    head.weight/rows    (r,) which rows of the tensor along its first axis are changed
    head.weight/before  (r, ...) their values in the weights that the patch was made for
    head.weight/after   (r, ...) their values afterwards

A patch holds both values, not their difference: a sum of floating point numbers cannot be taken back to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tapetum.files import opened, shown, tensors_in
from tapetum.keeping.places import ELSEWHERE, writable
from tapetum.keeping.whole import write_whole
from tapetum.models.replica import copied, weights_sha256
from tapetum.models.vision_model import VisionModel
from tapetum.types import ModelError, Result

KEY = "tapetum_patch"
"""Name in a safetensors file's metadata under which a patch says what it was made from, as JSON."""

ABOUT = ("model", "source", "weights_sha256", "patched_sha256", "words", "made_from")
PARTS = ("rows", "before", "after")


@dataclass(frozen=True, eq=False)
class Patch(Result):
    """A change of some rows of some of a model's weights; `apply` makes it on a copy, `take_back` undoes it to the last bit.

    model           name of the model that it was made for; `source` is what `load` takes
    weights_sha256  of all its weights before the change; `patched_sha256`: after it
    words           what was changed, in a sentence
    rows            {name of a tensor: (r,) the changed rows along its first axis}
    before, after   {name of a tensor: (r, ...) the values of these rows}
    made_from       further facts, as text: the cue, its class, the data
    """

    model: str
    source: str
    weights_sha256: str
    patched_sha256: str
    words: str
    rows: Mapping[str, Tensor]
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    made_from: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def changed(self) -> int:
        """Number of weights that differ before and after."""
        return sum(int((self.before[name] != self.after[name]).sum()) for name in self.rows)

    def __str__(self) -> str:
        tensors = ", ".join(f"{len(rows)} rows of {name}" for name, rows in self.rows.items())
        return f"patch of {self.model}: {self.words}; {self.changed:,} weights differ ({tensors})"

    def apply(self, model: VisionModel) -> VisionModel:
        """Returns a copy of the model with the change made; refuses a model with other weights."""
        return self._exchanged(model, self.weights_sha256, self.after, "was made for other weights than those of")

    def take_back(self, model: VisionModel) -> VisionModel:
        """Returns a copy of a patched model with the weights from before, bit for bit; refuses any other model."""
        return self._exchanged(
            model, self.patched_sha256, self.before, "cannot be taken back: it was not made to the weights of"
        )

    def _exchanged(self, model: VisionModel, wanted: str, values: Mapping[str, Tensor], words: str) -> VisionModel:
        found = weights_sha256(model.module)
        if found != wanted:
            raise ModelError(
                f"the patch of {shown(self.model)} {words} {model.name}: it fits weights with SHA-256 {shown(wanted[:12])}..., "
                f"and these have {found[:12]}..."
            )
        twin = copy_of(model)
        own = _weights(twin.module)
        for name, rows in self.rows.items():
            _check_fits(name, rows, values[name], own)
            own[name][rows.to(own[name].device)] = values[name].to(own[name].device)
        return twin

    def write(self, file: str | Path) -> Path:
        """Writes the patch as a safetensors file, completely or not at all; `load(weights=FILE)` makes the change."""
        path = Path(file)
        tables = zip(PARTS, (self.rows, self.before, self.after), strict=True)
        tensors = {f"{name}/{part}": one.detach().cpu().contiguous() for part, table in tables for name, one in table.items()}
        about = {name: value for name, value in asdict(self).items() if name in ABOUT}
        with writable(path, ELSEWHERE):
            write_whole(path, save(tensors, {KEY: json.dumps(about)}), ELSEWHERE)
        return path

    @classmethod
    def read(cls, file: str | Path) -> Patch:
        """Reads what `write` wrote; refuses other files and damaged ones. Nothing in the file is run."""
        name = shown(Path(file).name)
        about, tensors = _content(Path(file), name)
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for key, tensor in tensors.items():
            place, _, part = key.rpartition("/")
            if part not in parts or not place:
                raise ModelError(f"{name} is a damaged patch: it holds {shown(key)}")
            parts[part][place] = tensor
        rows, before, after = (parts[part] for part in PARTS)
        for place in rows.keys() | before.keys() | after.keys():
            if not all(place in part for part in (rows, before, after)) or not _is_change(
                rows[place], before[place], after[place]
            ):
                raise ModelError(f"{name} is a damaged patch: its change of {shown(place)} is none")
        return cls(rows=rows, before=before, after=after, **{key: about[key] for key in ABOUT})


def is_patch(file: Any) -> bool:
    """Checks whether a path is a safetensors file whose metadata say that it is a patch."""
    if not str(file).endswith(".safetensors") or not Path(file).is_file():
        return False
    try:
        with safe_open(file, "pt") as content:
            return KEY in (content.metadata() or {})
    except (OSError, SafetensorError):
        return False


def made(model: VisionModel, patched: VisionModel, words: str, made_from: Mapping[str, str]) -> Patch:
    """Returns the patch that turns the weights of `model` into those of `patched`, a copy of it with changes."""
    old, new = _weights(model.module), _weights(patched.module)
    rows = {name: _differing(old[name], new[name]) for name in old if not _same_bits(old[name], new[name])}
    return Patch(
        model.name,
        str(model.source),
        weights_sha256(model.module),
        weights_sha256(patched.module),
        words,
        {name: some.cpu() for name, some in rows.items()},
        {name: old[name][some].detach().cpu().clone() for name, some in rows.items()},
        {name: new[name][some].detach().cpu().clone() for name, some in rows.items()},
        dict(made_from),
    )


def copy_of(model: VisionModel) -> VisionModel:
    """Returns the model around a copy of its module, with weights of its own."""
    try:
        module = copied(model.module, lambda tensor: tensor.clone())
    except Exception as error:
        raise ModelError(f"{model.name} cannot be copied ({type(error).__name__}: {error}), and is never changed") from error
    return model.around(module)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in (*module.named_parameters(), *module.named_buffers())}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(len(tensor) if tensor.ndim else 1, -1).view(torch.uint8)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(_bits(a), _bits(b)))


def _differing(a: Tensor, b: Tensor) -> Tensor:
    """Rows along the first axis in which any bit differs."""
    return (_bits(a) != _bits(b)).any(1).nonzero()[:, 0]


def _check_fits(name: str, rows: Tensor, values: Tensor, own: Mapping[str, Tensor]) -> None:
    held = own.get(name)
    fits = held is not None and held.ndim > 0 and values.shape[1:] == held.shape[1:] and values.dtype == held.dtype
    if held is None or not fits or int(rows.max()) >= len(held):
        raise ModelError(f"the patch is damaged: its change of {shown(name)} does not fit the model")


def _is_change(rows: Tensor, before: Tensor, after: Tensor) -> bool:
    count = rows.ndim == 1 and rows.dtype == torch.long and len(rows) > 0 and int(rows.min()) >= 0
    return count and before.shape == after.shape and before.dtype == after.dtype and before.shape[:1] == rows.shape


def _content(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a patch, whose fields have the right types."""
    opened(path, ModelError, "a patch").close()
    try:
        told, tensors = tensors_in(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{name} is no readable patch ({type(error).__name__})") from error
    text = told.get(KEY)
    if text is None:
        raise ModelError(f"{name} is no patch: `tapetum suppress` writes patch.safetensors")
    try:
        about = json.loads(text)
        right = all(isinstance(about[key], str) for key in ABOUT[:5]) and isinstance(about["made_from"], dict)
    except (ValueError, TypeError, KeyError):
        right, about = False, {}
    if not right:
        raise ModelError(f"{name} is a damaged patch: what it was made from cannot be read")
    return about, tensors
