"""Finds and fetches pictures: files, folders, addresses, and the photographs of scikit-image."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any

from tapetum.files import are_closed, shown
from tapetum.files import opened as opened_file
from tapetum.types import ImageError

LARGEST = 600_000_000
"""Largest size in bytes of a picture file that is read whole: 64 million pixels of four times 16 bits, and a little more."""

MAX_BYTES = 100_000_000
"""Largest number of bytes that are fetched from an address."""

TIMEOUT_S, TOTAL_S = 20, 120
"""Seconds to wait for each answer of a server, and for a whole picture."""

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "avif", "npy")
ENDINGS = tuple(f".{extension}" for extension in EXTENSIONS)
PHOTOGRAPHS = {"cat": "chelsea.png", "astronaut": "astronaut.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)


def find_images(paths: Sequence[str]) -> list[str]:
    """Lists the images at files, folders and addresses, each once; folders are searched recursively in sorted order.

    Hidden files and folders inside a folder are left out. A missing path stays in the list, so that reading it raises an error
    with its name.
    """
    found: dict[str, str] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = os.fspath(path)
        for file in _images_inside(path) if os.path.isdir(path) else [path]:
            found.setdefault(file if is_address(file) else _place(file), file)
    return list(found.values())


def _place(file: str) -> str:
    """Absolute path of a file; two spellings of one path become the same."""
    try:
        return os.path.abspath(file)
    except OSError:  # the working folder no longer exists: reading the file will fail
        return file


def packaged_photo(name: str = "cat") -> Path:
    """Path of a photograph from scikit-image: cat, astronaut, coffee or rocket. Nothing is downloaded."""
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
        # a link to a parent folder would be followed for ever
        new = [f for f in folders if f[0] != "." and os.path.realpath(os.path.join(here, f)) not in visited]
        folders[:] = sorted(new)
        images += [os.path.join(here, f) for f in names if f[0] != "." and f.lower().endswith(ENDINGS)]
    if not images:
        raise ImageError(f"{shown(folder)}: no images in this folder (looked for {' '.join(EXTENSIONS)})")
    return sorted(images)


def is_address(text: str) -> bool:
    """Returns whether a text begins with a scheme such as https://, as paths never do."""
    return _SCHEME.match(text) is not None


def opened_image(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Opens a regular file for reading bytes; an `ImageError` says why that is not possible."""
    return opened_file(path, ImageError, "an image")


def downloaded(url: str) -> bytes:
    """Downloads an http(s) address: at most MAX_BYTES bytes, within TOTAL_S seconds."""
    if are_closed():
        raise ImageError(f"{shown(url)}: no addresses are read here; send the picture itself")
    if not _is_web(url):
        raise ImageError(f"{shown(url)}: only http and https addresses are read; give one, or a path on this computer")
    answers: list[bytes | Exception] = []
    # in a thread: no read times out while a server sends a byte now and then
    asking = threading.Thread(target=lambda: answers.append(_answer(url)), daemon=True)
    asking.start()
    asking.join(TOTAL_S)
    if not answers:
        raise ImageError(f"{shown(url)}: not all there after {TOTAL_S} s; download it, and give the file")
    if isinstance(answers[0], Exception):
        raise _in_words(url, answers[0]) from answers[0]
    if len(answers[0]) > MAX_BYTES:
        raise ImageError(f"{shown(url)}: more than {MAX_BYTES / 1e6:g} MB; give the address of a smaller image")
    return answers[0]


class _OnTheWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) addresses only, and refuses all others."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Returns the request for the address of a redirect; raises ValueError unless it is http(s)."""
        if not _is_web(newurl):
            fp.close()  # urllib closes the response only when it follows the redirect
            raise ValueError(f"it leads to {shown(newurl)}, no http address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _answer(url: str) -> bytes | Exception:
    end, parts, size = time.monotonic() + TOTAL_S, list[bytes](), 0
    try:
        address = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # spaces and accents, as browsers do
        request = urllib.request.Request(address, headers={"User-Agent": "tapetum (image reader)"})
        with urllib.request.build_opener(_OnTheWeb).open(request, timeout=TIMEOUT_S) as response:
            while size <= MAX_BYTES and (part := response.read1(1 << 20)):
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:  # `downloaded` no longer waits for the answer
                    raise TimeoutError(f"not all there after {TOTAL_S} s")
            if size <= MAX_BYTES and response.length:
                raise IncompleteRead(b"", response.length)
    except Exception as error:  # of any kind: `downloaded` raises it in the caller's thread
        return error
    return b"".join(parts)


def _in_words(url: str, error: Exception) -> ImageError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return ImageError(f"{shown(url)}: the server answers {error.code} {shown(error.reason)}; check the address")
    if not isinstance(error, (OSError, HTTPException, ValueError)):
        raise error
    why = shown(getattr(error, "reason", None) or error)
    return ImageError(f"{shown(url)}: cannot be fetched ({why}); check the address and the network")
