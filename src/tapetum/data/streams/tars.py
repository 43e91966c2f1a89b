"""Reads pictures from tar archives with WebDataset's naming: 0001.jpg, 0001.cls and 0001.json belong together."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tapetum.data.sources import ENDINGS, EXTENSIONS, LARGEST, opened_image
from tapetum.data.streams.base import Encoded, class_of_folder, digest, folder_labels, is_wordnet_id, stamp
from tapetum.files import parsed, shown
from tapetum.progress import report
from tapetum.types import DamagedError, ImageError, TapetumError

_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # first bytes of gzip, bzip2, xz and zstandard files
_LARGEST_LABEL = _LONGEST_ABOUT = 1_000_000
_LONGEST_END = 256_000_000
"""Largest number of bytes after the last member: tapes are padded to whole records."""

_ABOUT_NEXT = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class Member(NamedTuple):
    """Location of a picture: index of its archive, first byte, and number of bytes."""

    tar: int
    offset: int
    size: int


@dataclass(frozen=True)
class Tars(Encoded):
    """Pictures inside uncompressed tar archives, read by position.

    `left_out` maps the names of members that are not samples to reasons.
    """

    name: str
    paths: tuple[str, ...]
    stamps: tuple[tuple[int, int] | None, ...] = field(repr=False)
    members: tuple[Member, ...] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    labels: tuple[str | None, ...] = field(repr=False)
    left_out: dict[str, str] = field(repr=False)

    def fingerprint(self) -> str:
        """SHA-256 over the ids of the pictures, and the sizes and modification times of the archives."""
        return digest("tars", [*map(stamp, self.paths), *self.ids])

    def content(self, sample: int) -> bytes:
        """Bytes of a picture's member; refused if the archive has changed since it was indexed."""
        tar, offset, size = self.members[sample]
        with opened_image(self.paths[tar]) as file:
            status = os.fstat(file.fileno())
            if (status.st_size, status.st_mtime_ns) != self.stamps[tar]:
                raise ImageError(f"{shown(self.paths[tar])}: changed since the scan began; scan it again")
            file.seek(offset)
            if size > LARGEST:
                raise ImageError(f"{shown(self.ids[sample])}: larger than {LARGEST / 1e6:g} MB, the most that is read")
            return file.read(size)

    def place(self, sample: int) -> str:
        """Origin of a picture in words, for error messages."""
        return f"{self.paths[self.members[sample].tar]}:{self.ids[sample]}"


def is_tar(path: str) -> bool:
    """Returns whether a path has the name of a tar archive, compressed or not."""
    return path.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"))


def shards(paths: Sequence[str], name: str) -> Tars:
    """Returns a source of the pictures in tar archives; the headers are read once.

    Ids are the members' names, after the archive's name if there are several archives.

    A member with a picture's extension is a sample. Its label: the text of the .cls member with its key (its name up to the
    first dot), else "label", "class_name", "class" or "cls" of its .json, else its class folder, else an archive's name that
    is a WordNet id. With 0001.jpg there, 0001.mask.png is another field of it and left out, as are links and sparse members.
    Refuses archives that are compressed (which allow no access by offset), damaged or truncated.
    """
    paths = tuple(map(os.path.abspath, paths))
    stamps = tuple(map(stamp, paths))  # before indexing: an archive that changes meanwhile is refused later
    names = _archive_names(paths)
    found: dict[str, tuple[Member, str, str | None]] = {}
    left_out: dict[str, str] = {}
    sizes = [size for size, _ in filter(None, stamps)]
    for number, path in enumerate(paths):
        index = _index(path, sum(sizes[:number]), sum(sizes))
        prefix = f"{names[number]}/" if len(paths) > 1 else ""
        stem = os.path.basename(path).removesuffix(".tar")
        label = class_of_folder(stem) if is_wordnet_id(stem) else None
        for member, offset, size in index.pictures:
            found[prefix + member] = (Member(number, offset, size), member, index.labels.get(_key(member), label))
        left_out |= {prefix + member: why for member, why in index.left_out.items()}
    if not found:
        raise ImageError(f"{shown(name)}: no images in the archive (looked for {' '.join(EXTENSIONS)})")
    ids = sorted(found)
    folders = folder_labels([found[one][1] for one in ids])
    labels = tuple(found[one][2] or folder for one, folder in zip(ids, folders, strict=True))
    return Tars(name, paths, stamps, tuple(found[one][0] for one in ids), tuple(ids), labels, left_out)


class _Index(NamedTuple):
    """Index of one archive: (name, first byte, number of bytes) of each picture, labels by key, and members left out."""

    pictures: list[tuple[str, int, int]]
    labels: dict[str, str]
    left_out: dict[str, str]


def _index(path: str, done: int, total: int) -> _Index:
    """Indexes one archive; `done` and `total` are for progress: bytes of the archives before it, and of all archives."""
    with opened_image(path) as file:
        if file.read(6).startswith(_MAGIC):
            raise ImageError(
                f"{shown(path)}: a compressed archive, in which nothing can be read by its place; unpack it "
                f"(tar -xf {shown(os.path.basename(path))}) and give the folder"
            )
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
                index = _sorted_out(archive, list(_whole_members(archive, path, done, total)))
                _check_end(file, archive, path)
            report(done + os.path.getsize(path), total, "bytes indexed")
        except TapetumError:
            raise
        except Exception as error:  # of any kind, from tarfile's parser
            raise ImageError(f"{shown(path)}: no tar archive, or damaged ({shown(error)}); copy it again") from error
    return index


class _Header(tarfile.TarInfo):
    """Header of a member: refuses impossible sizes, and ignores the maps of sparse members, which make tarfile fail."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        """Parses a header; refuses a negative size, or an extension header (such as a long name) of impossible size."""
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _ABOUT_NEXT and found.size > _LONGEST_ABOUT):
            raise tarfile.HeaderError(f"a header of {found.size} bytes")
        return found

    def _proc_gnusparse_00(self, next: Any, *_: Any) -> None:
        next.sparse = []

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def _whole_members(archive: tarfile.TarFile, path: str, done: int, total: int) -> Iterator[tarfile.TarInfo]:
    length = os.path.getsize(path)
    for number, member in enumerate(archive):
        if number % 1000 == 0:
            report(done + member.offset, total, "bytes indexed")
        if member.size < 0:
            raise ImageError(f"{shown(path)}: damaged at {shown(member.name)}, of {member.size} bytes; copy it again")
        if member.isreg() and member.offset_data + member.size > length:
            raise ImageError(f"{shown(path)}: cut off within {shown(member.name)}; copy it again")
        yield member


def _check_end(file: Any, archive: tarfile.TarFile, path: str) -> None:
    """Checks that only zeros follow the last member: tarfile takes a damaged header in the middle for the end."""
    if os.path.getsize(path) - archive.offset > _LONGEST_END:
        raise ImageError(f"{shown(path)}: more than {_LONGEST_END / 1e6:g} MB behind its last member; copy it again")
    file.seek(archive.offset)
    block = file.read(512)
    if not block:
        raise ImageError(f"{shown(path)}: ends without a tar archive's end mark, so it was cut off; copy it again")
    while block:
        if block.strip(b"\0"):
            hint = "it is damaged, or several were joined: copy it again, or give them apart"
            raise ImageError(f"{shown(path)}: something unreadable after {len(archive.getmembers())} members; {hint}")
        block = file.read(1 << 20)


def _sorted_out(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo]) -> _Index:
    pictures: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, dict[str, str]] = {"json": {}, "cls": {}}
    left_out: dict[str, str] = {}
    for member in members:  # of members with one name the last counts, as when unpacking
        name = _plain_name(member.name)
        kind = _extension(name)
        if member.isdir() or any(part.startswith(".") for part in name.split("/")):
            continue
        if kind in labels and member.isreg() and member.size <= _LARGEST_LABEL:
            text = _label(kind, archive.extractfile(member).read())  # pyright: ignore[reportOptionalMemberAccess]
            labels[kind] |= {_key(name): text} if text else {}
        elif name.lower().endswith(ENDINGS):
            if member.isreg() and not member.issparse():
                pictures[name] = (name, member.offset_data, member.size)
            else:
                left_out[name] = "a link or a sparse file, not a picture of its own"
    main = {_key(name) for name in pictures if _extension(name) in EXTENSIONS}
    for name in [name for name in pictures if _extension(name) not in EXTENSIONS and _key(name) in main]:
        del pictures[name]
        left_out[name] = f"another field of {_key(name)}"
    return _Index(list(pictures.values()), labels["json"] | labels["cls"], left_out)


def _label(kind: str, content: bytes) -> str | None:
    text = content.decode("utf-8", "replace").strip()
    if kind == "cls":
        return " ".join(text.split())
    try:
        fields = parsed(text, "it")
    except DamagedError:
        return None
    values = [fields.get(key) for key in ("label", "class_name", "class", "cls")] if isinstance(fields, dict) else []
    return next((str(value) for value in values if isinstance(value, str | int)), None)


def _key(name: str) -> str:
    """WebDataset's key of a member: its name up to the first dot after the last folder."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".", 1)[0]


def _extension(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2].lower()


def _plain_name(name: str) -> str:
    """Name without a leading ./, with characters that cannot be encoded escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").lstrip("/").removeprefix("./")


def _archive_names(paths: Sequence[str]) -> list[str]:
    """Names of the archives for ids: their paths relative to their common folder."""
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [_plain_name(os.path.relpath(path, root).replace(os.sep, "/")) for path in paths]
