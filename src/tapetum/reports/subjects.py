"""Checks the inputs that a picture's provenance names: files need a matching checksum, URLs are never opened.

A picture from elsewhere may name any file of this computer, or a URL inside a private network. So that its author learns
nothing, a file is used only if its checksum agrees with the one in the picture (the author must have known the file), and
URLs are opened only if the user gives them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapetum.data.preprocessing import as_pair
from tapetum.files import checksum, shown
from tapetum.models.zoo.named import LARGEST, is_texts
from tapetum.registry import lookup
from tapetum.types import TapetumError

MOST = 500
"""Largest number of images or units of one picture, so that a small file cannot cause a huge computation."""


def check_provenance(said: Mapping[str, Any], name: str) -> None:
    """Refuses provenance of pictures that cannot be made again, and fields of a wrong type; `name` is the file in the error."""
    if "pictures" in said:
        pictures = said["pictures"] if isinstance(said["pictures"], list) else []
        first = ", ".join(shown(one) for one in pictures[:3])
        raise TapetumError(f"{name} is a figure of other pictures ({first}): reproduce those")
    if "data" in said:
        about = said["data"] if isinstance(said["data"], dict) else {}
        raise TapetumError(f"{name} is a figure of a data set ({shown(about.get('name'))}): run its command on that again")
    wrong = [field for field, fits in FIELDS.items() if field not in said or not fits(said[field])]
    wrong += [] if _is_table_of_texts(said.get("versions", {})) else ["versions"]
    if wrong:
        raise TapetumError(f"{name}: its provenance is not complete ({', '.join(wrong)}); an earlier version wrote it")
    if said["lost"]:
        lost = ", ".join(map(shown, said["lost"]))
        raise TapetumError(f"{name} cannot be made again from its file: no text could hold what was given for {lost}")
    if lookup(said["method"]).kind not in ("attribution", "rendering"):
        raise TapetumError(f"{name}: {said['method']} makes no picture")
    if len(said["subject"]) > MOST:
        raise TapetumError(f"{name} was made from {len(said['subject']):,} images at once; up to {MOST} are made again")
    if max(as_pair(said["parameters"].get("size") or 1)) > LARGEST:
        raise TapetumError(f"{name} asks for pictures of more than {LARGEST} px, larger than any that is made again")


def _are_parameters(value: Any) -> bool:
    """Returns whether the value is a dictionary of method keywords whose target is text, int or None; `run` checks the rest."""
    targets = value.get("target") if isinstance(value, dict) else None
    many = targets if isinstance(targets, list) else [targets]
    plain = all(one is None or (isinstance(one, (int, str)) and not isinstance(one, bool)) for one in many)
    return isinstance(value, dict) and plain and not TAKEN & value.keys()


TAKEN = {"name", "model", "subject", "progress"}
"""Names of the parameters of `run` itself, which are not keywords of a method."""


def _is_table_of_texts(value: Any) -> bool:
    return isinstance(value, dict) and is_texts(list(value.values()))


FIELDS = {
    "method": lambda value: isinstance(value, str),
    "parameters": _are_parameters,
    "model": lambda value: isinstance(value, str),
    "weights": lambda value: isinstance(value, str),
    "subject": is_texts,
    "files": _is_table_of_texts,
    "lost": is_texts,
    "row": lambda value: value is None or (isinstance(value, int) and not isinstance(value, bool)),
}


def checked_subject(said: Mapping[str, Any], images: str | Sequence[str] | None) -> Any:
    """Returns the subject: units as texts, or paths of image files with matching checksums; `images` are their new paths."""
    takes = lookup(said["method"]).takes
    places: list[str] = [images] if isinstance(images, str) else list(images or said["subject"])
    if len(places) != len(said["subject"]):
        raise TapetumError(f"the picture was made from {len(said['subject'])} images, {len(places)} were given")
    replaced: dict[str, str] = dict(zip(said["subject"], places, strict=True)) if takes != "units" else {}
    for name, digest in said["files"].items():
        _check_file(name, replaced.get(name) or name, digest)
    words = [] if images is not None or takes == "units" else list(said["subject"])
    for word in words:
        if word not in said["files"]:
            raise TapetumError(
                f"the picture was made from {shown(word)}, an address, or a file without a checksum; it is only read where you "
                "name it: --image FILE"
            )
    for word in _words(said["parameters"]):
        _check_word(word, said["files"])
    return list(said["subject"]) if takes == "units" else places


def inputs_of(said: Mapping[str, Any]) -> list[str]:
    """Returns the files of a model's further inputs that have checksums in the provenance; refuses files that differ."""
    settings, files = said.get("settings"), said["files"]
    extra = settings.get("extra") if isinstance(settings, dict) else None
    found = [text for text in extra.values() if isinstance(text, str) and text in files] if isinstance(extra, dict) else []
    for file in found:
        _check_file(file, file, files[file])
    return found


def _check_file(name: str, place: str, digest: str) -> None:
    if not os.path.isfile(place):
        there = f"looked in {shown(os.path.dirname(place) or os.curdir)}"
        raise TapetumError(f"the picture was made from {shown(name)}, which is not here ({there}); say where, --image FILE")
    if checksum(place) != digest:
        raise TapetumError(f"{shown(place)} is not the file that the picture was made from (its checksum differs)")


def _check_word(word: str, files: Mapping[str, str]) -> None:
    """Refuses a parameter's text if it is a URL, or names an existing file without a checksum in `files`."""
    if "://" in word:
        raise TapetumError(f"the picture was made with {shown(word)}; only addresses that you name are opened: run it again")
    for name in (word, word.partition(":")[2]):
        if name and name not in files and os.path.lexists(name) and not os.path.isdir(name):
            raise TapetumError(f"the picture's parameters name {shown(name)}, a file here without its checksum: it is not read")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _words(one)
