"""Sources of pictures for scans: folders, lists of files, tar shards, published data sets. `as_source` opens them all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, cast

from tapetum.data.sources import ENDINGS, EXTENSIONS, is_address
from tapetum.data.streams import huggingface, imagenette
from tapetum.data.streams.base import Source
from tapetum.data.streams.folders import files, folder
from tapetum.data.streams.patterns import is_pattern, paths_of
from tapetum.data.streams.tars import is_tar, shards
from tapetum.files import shown
from tapetum.types import ImageError

_KNOWN = (
    'a folder of pictures, a list of files, tar archives ("x-{000..009}.tar"), "imagenette", "planted", "digits", '
    'or "hf:NAME[:SPLIT]"'
)


def _planted(text: str) -> Source:
    from tapetum.data.planted import from_text  # imported here, since that module imports this package

    return from_text(text)


def _digits(text: str) -> Source:
    from tapetum.data.digits import from_text

    return from_text(text)


_SCHEMES = {"imagenette": imagenette.from_text, "hf": huggingface.from_text, "planted": _planted, "digits": _digits}


def as_source(source: Any) -> Source:
    """Opens the pictures named by a path, a pattern or a list; sources are returned as they are. Refusals say what would work.

    source: a folder, searched to the bottom (class folders give labels; its tar archives where it holds no pictures);
    a picture or a .tar archive; a pattern of such paths ("shards/x-{000..009}.tar", "photos/*.jpg"); a list of pictures and
    folders, or of archives; "imagenette[:160|320|full][:train|val]", which is downloaded once; "hf:NAME[:SPLIT]", a
    data set that Hugging Face's `datasets` streams, or such a data set itself; "planted[:shapes|objects][:background=.95]",
    synthetic pictures; "digits[:train|test]", scikit-learn's handwritten digits. Where a file or folder has this very name, it
    takes precedence.
    """
    if isinstance(source, Source):
        return source
    if huggingface.is_dataset(source):
        return huggingface.from_dataset(source)
    if isinstance(source, str | os.PathLike):
        return _from_text(os.fspath(cast("str | os.PathLike[str]", source)))
    if isinstance(source, Sequence) and all(isinstance(one, str | os.PathLike) for one in cast("Sequence[Any]", source)):
        paths = [os.fspath(path) for path in cast("Sequence[str]", source)]
        return _from_list(paths, "1 archive" if len(paths) == 1 else f"{len(paths)} archives")
    raise ImageError(f"a {type(source).__name__} is no source of pictures; give {_KNOWN}")


def _from_text(text: str) -> Source:
    if is_address(text):
        raise ImageError(f"{shown(text)}: an address is no source of pictures; give {_KNOWN}")
    scheme = text.partition(":")[0]
    if scheme in _SCHEMES and not os.path.exists(text):
        return _SCHEMES[scheme](text)
    if is_pattern(text):
        return _from_list(paths_of(text), os.path.basename(text).removesuffix(".tar"))
    if os.path.isdir(text):
        return _from_folder(text)
    if os.path.exists(text):
        return _from_list([text], os.path.basename(text).removesuffix(".tar"))
    raise ImageError(f"{shown(text)}: no such folder or file{_close(text)}; give {_KNOWN}")


def _from_folder(path: str) -> Source:
    try:
        archives = sorted(file.path for file in os.scandir(path) if is_tar(file.name) and file.is_file())
    except OSError as error:
        raise ImageError(f"{shown(path)}: cannot be listed ({error.strerror}); check its permissions") from error
    if archives and not _has_images(path):
        return shards(archives, os.path.basename(os.path.abspath(path)))
    return folder(path)


def _has_images(path: str) -> bool:
    return any(name[0] != "." and name.lower().endswith(ENDINGS) for _, _, names in os.walk(path) for name in names)


def _from_list(paths: Sequence[str], name: str) -> Source:
    archives = [path for path in paths if is_tar(path)]
    if archives and len(archives) < len(paths):
        other = next(path for path in paths if not is_tar(path))
        raise ImageError(f"archives and other files in one list ({shown(other)}); give archives alone, or files alone")
    if archives:
        return shards(archives, name)
    for path in paths:
        if os.path.isfile(path) and not path.lower().endswith(ENDINGS):
            raise ImageError(f"{shown(path)}: no picture by its name (looked for {' '.join(EXTENSIONS)}); give {_KNOWN}")
    return files(paths)


def _close(text: str) -> str:
    """Hint for error messages about a missing path: files with similar names, and schemes such as "imagenette"."""
    here, scheme = os.path.dirname(text) or os.curdir, text.partition(":")[0]
    names = os.listdir(here) if os.path.isdir(here) else []
    close = get_close_matches(os.path.basename(text), names, n=3) + get_close_matches(scheme, _SCHEMES, n=1)
    return f" (close names: {', '.join(map(shown, close))})" if close else ""
