"""Where pictures come from: files, folders, addresses, and the photographs that are installed with scikit-image."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from tapetum.files import opened as opened_file
from tapetum.files import shown
from tapetum.types import ImageError

LARGEST = 600_000_000
"""Bytes of a picture's file that is read whole: 64 million pixels of four times 16 bits, and a little more."""

MAX_BYTES = 100_000_000
"""Bytes from an address."""

TIMEOUT_S = 20
USER_AGENT = "tapetum (image reader)"
EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "avif", "npy")
PHOTOGRAPHS = {"cat": "chelsea.png", "astronaut": "astronaut.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}

_ENDINGS = tuple(f".{extension}" for extension in EXTENSIONS)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)


def find_images(paths: Sequence[str]) -> list[str]:
    """The images meant by files, folders and addresses: each once, folders searched to the bottom in sorted order.

    Hidden files and folders inside a folder are left out. A missing path stays, so that reading it names it.
    """
    found: dict[str, str] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = os.fspath(path)
        for file in _images_inside(path) if os.path.isdir(path) else [path]:
            found.setdefault(file if is_address(file) else os.path.abspath(file), file)
    return list(found.values())


def packaged_photo(name: str = "cat") -> Path:
    """The file of a photograph that is installed with scikit-image: cat, astronaut, coffee or rocket. No download."""
    if name not in PHOTOGRAPHS:
        raise ImageError(f'no packaged photograph "{shown(name)}"; there are: {", ".join(PHOTOGRAPHS)}')
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise ImageError("the packaged photographs come with scikit-image; install it (pip install scikit-image)")
    return Path(package.origin).parent / "data" / PHOTOGRAPHS[name]


def _images_inside(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise ImageError(f"{shown(error.filename)}: cannot be listed ({error.strerror}); check its permissions")

    images, visited = [], set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        visited.add(os.path.realpath(here))
        # a link back up would be walked for ever
        new = [f for f in folders if f[0] != "." and os.path.realpath(os.path.join(here, f)) not in visited]
        folders[:] = sorted(new)
        images += [os.path.join(here, f) for f in names if f[0] != "." and f.lower().endswith(_ENDINGS)]
    if not images:
        raise ImageError(f"{shown(folder)}: no images in this folder (looked for {' '.join(EXTENSIONS)})")
    return sorted(images)


def is_address(text: str) -> bool:
    """Whether it starts as an address does; a path never does."""
    return _SCHEME.match(text) is not None


def opened(path: str | os.PathLike[str]) -> io.BufferedReader:
    """A regular file to read bytes from; an `ImageError` says why there is none."""
    return opened_file(path, ImageError, "an image")


def fetched(url: str) -> bytes:
    """What an http(s) address gives, up to MAX_BYTES."""
    if not url.lower().startswith(("http://", "https://")):
        raise ImageError(f"{shown(url)}: only http and https addresses are read; give one, or a path on this computer")
    try:
        address = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # spaces and accents, as browsers do
        request = urllib.request.Request(address, headers={"User-Agent": USER_AGENT})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            data = response.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(f"{shown(url)}: the server answers {error.code} {error.reason}; check the address") from error
    except (OSError, HTTPException, ValueError) as error:
        why = shown(getattr(error, "reason", None) or error)
        raise ImageError(f"{shown(url)}: cannot be fetched ({why}); check the address and the network") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"{shown(url)}: more than {MAX_BYTES / 1e6:g} MB; give the address of a smaller image")
    return data
