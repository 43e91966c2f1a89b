"""`reproduce`: runs a method again as the provenance of a saved picture describes, and compares the pixels."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.border.running import run
from tapetum.border.subjects import as_model
from tapetum.data.images import to_uint8
from tapetum.data.planes import viewable
from tapetum.figures.overlay import picture
from tapetum.figures.tiles import finished
from tapetum.files import shown
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.loading import loaded
from tapetum.models.zoo.named import named_in_file, settings_in_file
from tapetum.models.zoo.settings import with_settings
from tapetum.progress import Watcher
from tapetum.reports.provenance import carried, read_picture, write_picture
from tapetum.reports.subjects import check_provenance, checked_subject, inputs_of
from tapetum.types import ModelLike, Rendering, Run, TapetumError

NOT_REPEATED = ("units", "frames", "generator")
"""Parameters that are not passed again: the subject has its own field, and intermediate frames change nothing."""


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A picture made again, compared with the saved one.

    same          True if all pixels are equal
    words         the comparison as a sentence
    pixels        the new picture, (3 | 4, h, w)
    differences   changes since the first picture was made: versions, weights, processor
    """

    same: bool
    words: str
    pixels: Tensor
    run: Run
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.words


def reproduce(
    file: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    model: ModelLike = None,
    images: str | Sequence[str] | None = None,
    progress: Watcher | None = None,
) -> Reproduction:
    """Makes a saved picture again from the provenance inside its file, and says whether it has the same pixels.

    Works for every PNG that `tapetum run`, `explain`, `render` etc. save. Refused in one line: a file without provenance,
    provenance or pixels that were changed, photographs that are no longer the same, parameters that no text can hold.

    Args:
        file: a PNG file.
        out: where the new picture goes, with its own provenance; None: nowhere.
        model: in place of the one that the provenance names, such as your own module; factories, folders and files of weights
            are only used when they are named here, since a picture from elsewhere must not choose what runs or is read.
        images: the photographs, where they are no longer at the place that the provenance names.
        progress: called with every `Progress`.
    """
    said, before = read_picture(file)
    check_provenance(said, shown(file))
    _check_out(file, out)
    subject = checked_subject(said, images)
    network = _model(file, said, model)
    parameters = {key: value for key, value in said["parameters"].items() if key not in NOT_REPEATED}
    done = run(said["method"], network, subject, progress=progress, **parameters)
    pixels = _pixels(done, network, subject, said["row"], said.get("on") == "photo")
    differences = tuple(_differences(said, done))
    same, words = _compared(before, to_uint8(pixels), differences)
    if out is not None:
        write_picture(Path(out), pixels, done.provenance, row=said["row"], **({"on": said["on"]} if "on" in said else {}))
    return Reproduction(same, words, pixels, done, differences)


def settings_of_picture(file: str | os.PathLike[str], said: Collection[str] = ()) -> dict[str, Any]:
    """Returns the model's settings in a picture's provenance, without those named in `said`, which the caller gives."""
    content, name = read_picture(file)[0], shown(file)
    check_provenance(content, name)
    return settings_in_file(name, content.get("settings"), said, inputs_of(content))


def _check_out(file: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> None:
    """Refuses an output path in a missing folder, and an existing file unless that is another picture by tapetum."""
    if out is None:
        return
    if not os.path.isdir(Path(out).absolute().parent):
        raise TapetumError(f"--out {shown(out)}: there is no such folder")
    if not os.path.exists(out):
        return
    if os.path.samefile(file, out) or carried(out) is None:
        raise TapetumError(f"--out {shown(out)} is there already; give a new file")


def _model(file: str | os.PathLike[str], said: Mapping[str, Any], model: ModelLike) -> VisionModel:
    """Returns the given model, or loads the one that the provenance names."""
    name, settings, inputs = shown(file), said.get("settings"), inputs_of(said)
    if model is not None:
        given = as_model(model)  # settings of the given model override those in the file
        return given if given.settings else with_settings(given, settings_in_file(name, settings, vouched=inputs))
    return loaded(*named_in_file(name, said["model"], said["weights"], settings, beside=Path(file).parent, vouched=inputs))


def _pixels(done: Run, model: VisionModel, subject: Sequence[str], row: int | None, whole: bool) -> Tensor:
    """Returns pixels (3 | 4, h, w) as they are saved: a rendering, or a map over the model's crop or the `whole` photograph."""
    if row is not None and not (isinstance(row, int) and 0 <= row < len(done.value)):
        raise TapetumError(f"{done.provenance.method} made {len(done.value)} pictures, none of them is number {row}")
    if isinstance(done.value, Rendering):
        return finished(done.value, row)
    row = row or 0
    seen = viewable(model.preprocessing.read(subject[row]))[0] if whole else model.denormalize(model.as_images(subject))[row]
    return picture(done.value, seen.cpu(), row, on="photo" if whole else "crop")


def _differences(said: Mapping[str, Any], done: Run) -> list[str]:
    now, then = done.provenance, said.get("versions", {})
    changed = {name: now.versions.get(name, "gone") for name in then if now.versions.get(name) != then[name]}
    found = [f"{shown(name)} was {shown(then[name])}, is {version}" for name, version in changed.items()]
    if said.get("weights_sha256") != now.weights_sha256:
        found.append(f"the weights are others ({shown(said.get('weights_sha256'))[:8]}, now {now.weights_sha256[:8]})")
    if said.get("images_sha256") != now.images_sha256:
        found.append("the images came out differently")
    for name in ("device", "dtype", "machine"):
        if said.get(name) != getattr(now, name):
            found.append(f"{name} was {shown(said.get(name))}, is {getattr(now, name)}")
    return found


def _compared(before: np.ndarray, after: np.ndarray, differences: Sequence[str]) -> tuple[bool, str]:
    since = f" ({'; '.join(differences)})" if differences else ""
    if before.shape != after.shape:
        sizes = " and ".join(f"{levels.shape[1]} x {levels.shape[0]}" for levels in (before, after))
        return False, f"another size: {sizes} px{since}"
    apart = np.abs(before.astype(int) - after.astype(int)).max(-1)
    if not apart.any():
        return True, f"the same pixels{since}"
    share = f"{(apart > 0).mean():.1%}".replace("%", " %")
    return False, f"other pixels: {share} of them differ, by up to {apart.max()} of 255{since}"
