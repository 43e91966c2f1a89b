"""Claims about tar shards: every picture of a whole archive once, by its place; nothing of a damaged one."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum as tp
from tapetum.data.images import read_image
from tapetum.data.streams import as_source
from tapetum.data.streams.patterns import paths_of
from tapetum.types import ImageError


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(path: Path, files: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path


def refusal(source: object) -> str:
    with pytest.raises(ImageError) as caught:
        as_source(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_that_share_a_key_are_one_sample(tmp_path: Path, form: int) -> None:
    files = {
        "./b/0002.jpg": jpeg(2), "b/0002.cls": b"207\n", "a/0001.json": json.dumps({"label": "cat", "x": 1}).encode(),
        "a/0001.jpg": jpeg(1), "a/0001.mask.png": jpeg(3), "a/0003.json": b"{broken", "a/0003.JPEG": jpeg(4),
        "a/0003.cls": b"German shepherd", "a/._0001.jpg": b"resources of another system", "a/plain.jpg": jpeg(5),
        "readme.txt": b"hello", "c/two.dots.jpg": jpeg(6),
    }  # fmt: skip
    source = as_source(archive(tmp_path / "x.tar", files, form=form))
    assert source.name == "x"
    assert dict(zip(source.ids, source.labels, strict=True)) == {
        "a/0001.jpg": "cat", "a/0003.JPEG": "German shepherd", "a/plain.jpg": "a", "b/0002.jpg": "207", "c/two.dots.jpg": "c",
    }  # fmt: skip
    assert list(source.ids) == sorted(source.ids)
    assert source.left_out == {"a/0001.mask.png": "another field of a/0001"}
    for sample, one in enumerate(source.ids):
        content = files.get(one) or files["./" + one]
        assert source.content(sample) == content
        assert torch.equal(source.read(sample), read_image(content))


def test_shards_are_one_source_however_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(3):
        files = {f"{key:04}.jpg": jpeg(10 * shard + key) for key in range(4)}
        archive(tmp_path / "shards" / f"x-{shard:03}.tar", files)
    ways = ["shards/x-{000..002}.tar", "shards/*.tar", "shards", "shards/x-00{0,1,2}.tar"]
    monkeypatch.chdir(tmp_path)
    sources = [as_source(way) for way in [*ways, [Path(f"shards/x-{shard:03}.tar") for shard in (2, 0, 1)]]]
    assert [source.name for source in sources] == ["x-{000..002}", "*", "shards", "x-00{0,1,2}", "3 archives"]
    for source in sources:
        assert list(source.ids) == [f"x-{shard:03}.tar/{key:04}.jpg" for shard in range(3) for key in range(4)]
        assert torch.equal(source.read(5), read_image(jpeg(11)))
    assert len({as_source(way).fingerprint() for way in ways}) == 1
    assert "x-003.tar: no such file" in refusal("shards/x-{000..003}.tar")
    assert "no file is called like that" in refusal("shards/y-*.tar")
    assert "close names: shards" in refusal("shard")
    assert "more than 100000 files" in refusal("x-{0..999999999999}.tar")


def test_braces_are_a_shells(tmp_path: Path) -> None:
    # bash: echo {train,val}-{08..10}-{3..1}.tar
    expected = [f"{split}-{a}-{b}.tar" for split in ("train", "val") for a in ("08", "09", "10") for b in "321"]
    assert paths_of("{train,val}-{08..10}-{3..1}.tar") == expected


def test_archives_named_by_a_wordnet_id_are_classes(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n02102040"):  # as ImageNet's training set comes
        archive(tmp_path / f"{wnid}.tar", {f"{wnid}_1.JPEG": jpeg(1)})
    assert list(as_source(tmp_path).labels) == ["tench", "English springer"]


def test_a_tar_of_class_folders_gives_labels(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.tar", {"pets/cat/1.jpg": jpeg(1), "pets/dog/1.jpg": jpeg(2)})
    assert list(as_source(path).labels) == ["cat", "dog"]


def test_the_last_of_two_members_of_one_name_counts_as_when_unpacking(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    archive(path, {"a.jpg": jpeg(3)}, mode="a")
    source = as_source(path)
    assert list(source.ids) == ["a.jpg", "b.jpg"]
    assert source.content(0) == jpeg(3)


def test_links_are_left_out_by_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", {"a.jpg": jpeg(1)})
    with tarfile.open(path, "a") as out:
        for kind, name in ((tarfile.SYMTYPE, "soft.jpg"), (tarfile.LNKTYPE, "hard.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../../etc/passwd"
            out.addfile(member)
    source = as_source(path)
    assert list(source.ids) == ["a.jpg"]
    assert sorted(source.left_out) == ["hard.jpg", "soft.jpg"]


def test_names_longer_than_a_header_and_names_of_any_bytes(tmp_path: Path) -> None:
    names = ["d" * 90 + "/" + "f" * 150 + ".jpg", "caf\xe9.jpg", "caf\udce9.jpg"]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        source = as_source(archive(tmp_path / "x.tar", {name: jpeg(1) for name in names}, form=form))
        assert sorted(source.ids) == sorted([names[0], names[1], "caf\\xe9.jpg"])
        assert all(one.encode("utf-8") for one in source.ids)


def test_sources_travel_and_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    contents = {f"{key:03}.jpg": jpeg(key) for key in range(30)}
    source = pickle.loads(pickle.dumps(as_source(archive(tmp_path / "x.tar", contents))))
    order = random.Random(0).choices(range(30), k=300)
    with ThreadPoolExecutor(8) as pool:
        assert all(map(lambda at, read: read == contents[f"{at:03}.jpg"], order, pool.map(source.content, order)))


def test_an_archive_that_changed_is_not_read_at_old_places(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    source = as_source(path)
    before = source.fingerprint()
    archive(path, {"b.jpg": jpeg(2), "a.jpg": jpeg(1)})
    os.utime(path, ns=(0, 10**18))
    assert source.fingerprint() != before
    with pytest.raises(ImageError, match=r"x.tar: changed since the scan began"):
        source.read(0)
    path.unlink()
    with pytest.raises(ImageError, match=r"x.tar: no such file"):
        source.read(0)


def test_a_damaged_picture_is_refused_alone(tmp_path: Path) -> None:
    source = as_source(archive(tmp_path / "x.tar", {"a.jpg": jpeg(1)[:-50], "b.jpg": jpeg(2), "c.jpg": b""}))
    assert len(source.ids) == 3
    for sample, says in ((0, r"x.tar:a.jpg: cut off or damaged"), (2, r"x.tar:c.jpg: empty")):
        with pytest.raises(ImageError, match=says):
            source.read(sample)
    assert torch.equal(source.read(1), read_image(jpeg(2)))


def test_an_archive_cut_off_anywhere_or_damaged_between_members_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", {f"{key}.jpg": jpeg(key) for key in range(4)}).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as opened:
        members = opened.getmembers()
    end_of_members = members[-1].offset_data + -(-members[-1].size // 512) * 512
    path = tmp_path / "x.tar"
    for length in (0, 100, 511, 512, 700, 1024, 2000, end_of_members - 512 - 1, end_of_members):
        path.write_bytes(whole[:length])
        assert "x.tar" in refusal(path), length
    for header in [member.offset for member in members]:
        damaged = bytearray(whole)
        damaged[header + 150] ^= 0x55  # in the header's checksum
        path.write_bytes(damaged)
        assert "copy it again" in refusal(path)
    path.write_bytes(whole + whole)  # cat a.tar b.tar: tar itself stops at the first end mark
    assert "several were joined" in refusal(path)


@pytest.mark.parametrize("way", ["gz", "bz2", "xz"])
def test_compressed_archives_are_refused_whatever_they_are_called(tmp_path: Path, way: str) -> None:
    for name in (f"x.tar.{way}", "x.tar"):
        assert "a compressed archive" in refusal(archive(tmp_path / name, {"a.jpg": jpeg(1)}, mode=f"w:{way}"))


def test_what_is_no_archive_of_pictures_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "no images in the archive" in refusal(archive(tmp_path / "x.tar", {"a.txt": b"hello"}))
    (tmp_path / "y.tar").write_text("hello " * 1000)
    assert "no tar archive" in refusal(tmp_path / "y.tar")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert "archives and other files" in refusal([tmp_path / "x.tar", tmp_path / "a.png"])
    (tmp_path / "notes.pdf").write_text("hello")
    assert "no picture by its name" in refusal(tmp_path / "notes.pdf")


def test_reading_headers_is_reported_and_can_be_stopped(tmp_path: Path) -> None:
    for shard in range(3):
        archive(tmp_path / f"{shard}.tar", {f"{key}.jpg": jpeg(shard) for key in range(3)})
    length = (tmp_path / "0.tar").stat().st_size
    events = []
    with tp.watching(lambda event: events.append((event.done, event.total, event.unit))):
        as_source(tmp_path)
    assert events == [(done * length, 3 * length, "bytes indexed") for done in (0, 1, 1, 2, 2, 3)]
    with pytest.raises(tp.Cancelled), tp.watching(lambda event: event.done < length):
        as_source(tmp_path)


# --- archives that nobody packed


def header(name: bytes, size: int | bytes, kind: bytes = b"0") -> bytes:
    """A member's header (POSIX ustar), of any size."""
    number = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0" + b" " * 8 + kind
    block = (block.ljust(257, b"\0") + b"ustar\0" + b"00").ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name: bytes, content: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def pax(**fields: str) -> bytes:
    records = b""
    for key, value in fields.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = next(n for n in range(1, 9999) if len(str(n)) + len(record) == n)
        records += str(length).encode() + record
    return member(b"pax", records, b"x")


PIXEL = b"P6\n1 1\n255\nabc"
OK, END = member(b"ok.ppm", PIXEL), bytes(1024)
SPARSE = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__name": "s.ppm", "GNU__sparse__realsize": "10"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (OK + header(b"n.ppm", b"\xff" * 12) + OK + END, "a header of -1 bytes"),
        (OK + pax(size="-5") + OK + END, "damaged at ok.ppm, of -5 bytes"),
        (OK + pax(size="-5000") + OK + END, "of -5000 bytes"),
        (OK + pax(size="abc") + OK + END, "something unreadable"),
        (OK + header(b"h.ppm", b"\x80" + b"\x7f" * 11) + END, "cut off within h.ppm"),
        *((OK + header(b"x", 3 << 30, kind) + END, "a header of 3221225472 bytes") for kind in (b"L", b"K", b"x", b"g")),
        (OK + header(b"s.ppm", 0, b"S")[:482] + b"\1" + bytes(29), "something unreadable"),
    ],
)
def test_sizes_that_cannot_be_are_damage(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        as_source(tmp_path / "x.tar")


def test_a_map_of_a_sparse_member_is_not_followed(tmp_path: Path) -> None:
    """A ValueError of tarfile ended the reading."""
    (tmp_path / "x.tar").write_bytes(OK + pax(**SPARSE) + member(b"p.ppm", b"99999999999999\n1\n") + END)
    source = as_source(tmp_path / "x.tar")
    assert list(source.ids) == ["ok.ppm"]
    assert list(source.left_out) == ["s.ppm"]


def test_a_hole_of_a_terabyte_behind_the_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(OK + END)
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="more than 256 MB behind its last member"):
        as_source(tmp_path / "x.tar")


def test_labels_that_are_no_json_of_a_usual_depth_are_none_and_names_stay_inside(tmp_path: Path) -> None:
    odd = member(b"ok.json", b"[" * 100_000) + member(b"b.ppm", PIXEL) + member(b"b.json", b'{"label":' + b"1" * 5000 + b"}")
    (tmp_path / "x.tar").write_bytes(OK + odd + member(b"../../up.ppm", PIXEL) + member(b"/top.ppm", PIXEL) + END)
    source = as_source(tmp_path / "x.tar")
    assert list(source.ids) == ["b.ppm", "ok.ppm", "top.ppm"]
    assert list(source.labels) == [None, None, None]
