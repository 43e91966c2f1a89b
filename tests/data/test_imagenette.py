"""Claims about Imagenette: downloaded once, checked, unpacked safely and at once, or one line says what to do."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import Imagenette

import tapetum as tp
from tapetum.data import downloads
from tapetum.data.downloads import md5_of
from tapetum.data.streams import as_source, imagenette
from tapetum.data.streams.base import class_of_folder
from tapetum.data.streams.imagenette import ARCHIVES, Archive
from tapetum.types import ImageError

WNIDS = tuple(Imagenette._WNID_TO_CLASS)


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def packed(path: Path, files: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            member.name, member.size = name, len(data)
            out.addfile(member, io.BytesIO(data))
    return path


def small(path: Path, folder: str = "imagenette2-320") -> Path:
    """The layout of the published archives with one picture a class and split."""
    return packed(
        path,
        {
            f"{folder}/{split}/{wnid}/{wnid}_{number}.JPEG": picture(20 * number + (split == "val"))
            for split in ("train", "val")
            for number, wnid in enumerate(WNIDS)
        },
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "datasets"


def publish(monkeypatch: pytest.MonkeyPatch, file: Path, md5: str | None = None) -> None:
    monkeypatch.setitem(imagenette.ARCHIVES, "320", Archive(file.as_uri(), md5 or md5_of(file)))


def refusal(text: str) -> str:
    with pytest.raises(ImageError) as caught:
        as_source(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_addresses_checksums_and_class_names_are_those_that_torchvision_lists() -> None:
    listed = {size.removesuffix("px"): Archive(*facts) for size, facts in Imagenette._ARCHIVES.items()}
    assert listed == ARCHIVES
    assert {wnid: class_of_folder(wnid) for wnid in WNIDS} == {
        wnid: names[0] for wnid, names in Imagenette._WNID_TO_CLASS.items()
    }


def test_it_is_downloaded_once_and_read_as_a_folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = small(tmp_path / "imagenette2-320.tgz")
    publish(monkeypatch, remote)
    events: list[tuple[int, int, str]] = []
    with tp.watching(lambda event: events.append((event.done, event.total, event.unit))):
        source = as_source("imagenette")
    length = remote.stat().st_size
    assert [event for event in events if event[2] == "bytes"] == [(0, length, "bytes"), (length, length, "bytes")]
    assert {total for _, total, unit in events if unit == "bytes unpacked"} == {length}
    assert [path.name for path in home.iterdir()] == ["imagenette2-320"]  # no archive, no unfinished folder
    remote.unlink()
    assert as_source("imagenette:320").fingerprint() == source.fingerprint()
    assert (source.name, len(source.ids)) == ("imagenette-320", 20)
    val = as_source("imagenette:320:val")
    assert val.name == "imagenette-320/val"
    names = [names[0] for names in Imagenette._WNID_TO_CLASS.values()]
    assert list(val.labels) == names
    assert list(source.labels) == names * 2
    assert torch.equal(val.read(3), tp.read_image(picture(61)))


def test_an_archive_that_is_there_is_used_and_left(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True)
    (home / "imagenette2-320.tgz").write_bytes(b"half of it")
    assert "imagenette2-320.tgz is not the published imagenette2-320.tgz (10 bytes" in refusal("imagenette")
    file = small(home / "imagenette2-320.tgz")
    monkeypatch.setitem(imagenette.ARCHIVES, "320", Archive("http://127.0.0.1:9/imagenette2-320.tgz", md5_of(file)))
    assert len(as_source("imagenette:320:train").ids) == 10
    assert sorted(path.name for path in home.iterdir()) == ["imagenette2-320", "imagenette2-320.tgz"]


def test_nothing_wrong_or_incomplete_is_kept(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = small(tmp_path / "imagenette2-320.tgz")
    publish(monkeypatch, remote, md5="0" * 32)
    assert "gave what is not the published imagenette2-320.tgz" in refusal("imagenette")
    assert list(home.iterdir()) == []
    publish(monkeypatch, remote)
    monkeypatch.setattr(downloads, "CHUNK", 100)
    for unit in ("bytes", "bytes unpacked"):
        with pytest.raises(tp.Cancelled), tp.watching(lambda event, unit=unit: event.unit != unit or event.done < 200):
            as_source("imagenette")
        assert list(home.iterdir()) == []
    assert len(as_source("imagenette").ids) == 20


def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "../../../.."
    for files in (
        {"../../evil.txt": b"x"},
        {"imagenette2-320/train/out": link, "imagenette2-320/train/out/evil.txt": b"x"},
    ):
        publish(monkeypatch, packed(tmp_path / "imagenette2-320.tgz", files))
        assert "cannot be unpacked" in refusal("imagenette")
        assert list(home.iterdir()) == []
        assert list(tmp_path.rglob("evil.txt")) == []


def test_an_archive_of_something_else_is_refused(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, packed(tmp_path / "imagenette2-320.tgz", {"other/train/a.jpg": b"x"}))
    assert "holds no imagenette2-320/train" in refusal("imagenette")


def test_several_may_ask_at_once(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, small(tmp_path / "imagenette2-320.tgz"))
    with ThreadPoolExecutor(4) as pool:
        sources = list(pool.map(as_source, ["imagenette"] * 4))
    assert {source.fingerprint() for source in sources} == {sources[0].fingerprint()}
    assert [path.name for path in home.iterdir()] == ["imagenette2-320"]


def test_without_a_network_one_line_says_what_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (home.as_uri() + "/gone/imagenette2-320.tgz", "http://127.0.0.1:9/imagenette2-320.tgz"):  # nobody listens
        monkeypatch.setitem(imagenette.ARCHIVES, "320", Archive(url, "0" * 32))
        message = refusal("imagenette")
        assert "cannot be downloaded" in message
        assert "put imagenette2-320.tgz into" in message
        assert list(home.iterdir()) == []


def test_what_imagenette_has_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("imagenette:64", "imagenette:320:test", "imagenette:160:320", "imagenette:"):
        assert "give imagenette[:160|320|full][:train|val]" in refusal(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenette").mkdir()
    (tmp_path / "imagenette" / "a.jpg").write_bytes(picture(0))
    assert list(as_source("imagenette").ids) == ["a.jpg"]  # a folder of that name comes first
