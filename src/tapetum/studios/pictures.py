"""Pictures that clients send, kept by their content; no path of a client's ever reaches the file system.

A picture is decoded when it arrives, with limits, by the readers of `data/`. What goes back is always encoded anew, so that a
file that is also a script or a page is never sent on.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from tapetum.data.images import strips_of, to_uint8, webp
from tapetum.data.preprocessing import thumbnail
from tapetum.data.sources import PHOTOGRAPHS, packaged_photo
from tapetum.data.strips import Strips
from tapetum.studios.refusals import NoSuchPicture
from tapetum.types import ImageError

MOST_BYTES = 30_000_000
"""Largest size in bytes of a picture's file."""
MOST_PIXELS = 32_000_000
"""Largest number of pixels of a decoded picture, since anybody may send one."""
OF_ONE, TOTAL_BYTES = 64, 400_000_000
"""Pictures of one client, and bytes of all clients' files, that are kept; the oldest go first, and can be sent again."""
THUMB_PX, LONGEST_PX, QUALITY = 240, 2048, 90
CREDITS = {
    "cat": "Stefan van der Walt, CC0",
    "coffee": "Rachel Michetti, CC0",
    "astronaut": "NASA, public domain",
    "rocket": "SpaceX, CC0",
}
FIRST = ("coffee", "cat", "astronaut", "rocket")


@dataclass(frozen=True)
class Picture:
    """A picture's file, kept as it came.

    id      SHA-256 of the file, in hexadecimal
    sample  name of the packaged photograph that it is, or None
    """

    id: str
    name: str
    data: bytes
    height: int
    width: int
    thumbnail: bytes
    sample: str | None = None


class Pictures:
    """The packaged photographs, and the pictures of each client, by their ids: what one sends changes nothing for others.

    decoding  held while a picture is decoded, since one of 30 million pixels needs some hundred MB
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Picture] = OrderedDict()
        self._lock, self.decoding = threading.Lock(), threading.Lock()

    @cached_property
    def samples(self) -> dict[str, Picture]:
        found = [self._read(packaged_photo(name).read_bytes(), PHOTOGRAPHS[name], name) for name in FIRST]
        return {one.id: one for one in found}

    def add(self, owner: str, data: bytes, name: str) -> Picture:
        """Keeps a client's picture; refuses what is no picture, or too large a one."""
        one = self._read(data, name)
        if one.id in self.samples:
            return self.samples[one.id]
        with self._lock:
            self._kept.pop((owner, one.id), None)
            self._kept[owner, one.id] = one
            self._let_go(owner)
        return one

    def of(self, owner: str) -> OfOne:
        return OfOne(self, owner)

    def get(self, owner: str, name: str) -> Picture:
        """Returns a picture that this client sent, or a sample, by its id."""
        with self._lock:
            if (owner, name) in self._kept:
                self._kept.move_to_end((owner, name))
                return self._kept[owner, name]
        if name in self.samples:
            return self.samples[name]
        raise NoSuchPicture("the studio does not have this picture any more; send it again")

    def encoded(self, picture: Picture, side: int) -> bytes:
        """Returns a picture as WebP, its longer side at most `side` px."""
        with self.opened(picture) as pixels:
            return webp(to_uint8(thumbnail(pixels, side)), QUALITY)

    @contextmanager
    def opened(self, picture: Picture) -> Iterator[Strips]:
        """Opens a picture's pixels; one at a time, to limit memory."""
        with self.decoding, strips_of(picture.data, most=MOST_PIXELS, name=picture.name) as pixels:
            yield pixels

    def _read(self, data: bytes, name: str, sample: str | None = None) -> Picture:
        if data.startswith(b"\x93NUMPY"):
            raise ImageError(f"{name}: an array, not a picture; send a PNG, JPEG or WebP file")
        with self.decoding, strips_of(data, most=MOST_PIXELS, name=name) as pixels:
            height, width = map(int, pixels.shape[-2:])
            small = webp(to_uint8(thumbnail(pixels, THUMB_PX)), QUALITY)
        return Picture(hashlib.sha256(data).hexdigest(), name, data, height, width, small, sample)

    def _let_go(self, owner: str) -> None:
        owned = Counter(one for one, _ in self._kept)
        total = sum(len(one.data) for one in self._kept.values())
        for (of, name), one in list(self._kept.items())[:-1]:
            if total > TOTAL_BYTES or (of == owner and owned[owner] > OF_ONE):
                del self._kept[of, name]
                total -= len(one.data)
                owned[of] -= 1


class OfOne:
    """The pictures that one client can name: its own, and the packaged photographs."""

    def __init__(self, pictures: Pictures, owner: str) -> None:
        self._pictures, self._owner = pictures, owner

    def __getitem__(self, name: str) -> Picture:
        return self._pictures.get(self._owner, name)
