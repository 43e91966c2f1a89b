"""Claims about the sources of a scan: every picture once, in one order, with its label, and the numbers of `read_image`."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.data.images import read_image
from tapetum.data.preprocessing import Preprocessing
from tapetum.data.streams import Source, as_source
from tapetum.data.streams.base import class_of_folder, folder_labels, picture_of
from tapetum.types import ImageError


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (9, 7)) -> Path:
    """A small file of noise, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for number, name in enumerate(("dog/b.jpg", "cat/z.png", "cat/deep/a.jpg", "Cat/a.jpg", "dog/.hidden.jpg")):
        picture(root / name, seed=number)
    (root / "dog" / "notes.txt").write_text("no picture")
    return root


def refusal(source: object) -> str:
    with pytest.raises(ImageError) as caught:
        as_source(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_is_searched_to_the_bottom_in_the_order_of_its_ids(classes: Path) -> None:
    for given in (classes, str(classes), os.path.relpath(classes)):
        source = as_source(given)
        assert isinstance(source, Source)
        assert source.name == "pets"
        assert list(source.ids) == ["Cat/a.jpg", "cat/deep/a.jpg", "cat/z.png", "dog/b.jpg"]
        assert list(source.labels) == ["Cat", "cat", "cat", "dog"]
        for sample, one in enumerate(source.ids):
            assert torch.equal(source.read(sample), read_image(classes / one))
    assert as_source(source) is source


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["a.jpg", "b.jpg"], [None, None]),
        (["cat/a.jpg", "cat/b.jpg"], ["cat", "cat"]),
        (["a.jpg", "cat/b.jpg"], [None, "cat"]),
        (["images/cat/a.jpg", "images/dog/deep/b.jpg"], ["cat", "dog"]),
        (["train/cat/a.jpg", "val/dog/b.jpg"], ["cat", "dog"]),
        (["set/train/cat/a.jpg", "set/train/dog/b.jpg", "set/val/dog/c.jpg"], ["cat", "dog", "dog"]),
        (["train/a.jpg", "val/b.jpg"], [None, None]),
        (["train/a.jpg", "boat/b.jpg"], ["train", "boat"]),
        (["n01440764/n01440764_1.JPEG", "n02102040/x.JPEG", "n99999999/x.JPEG"], ["tench", "English springer", "n99999999"]),
        (["n01440764_tench.JPEG", "n02123394_Persian_cat.JPEG", "n02123394_123.JPEG"], ["tench", "Persian cat", None]),
    ],
)
def test_labels_are_class_folders_where_there_are_any(ids: list[str], labels: list[str | None]) -> None:
    assert list(folder_labels(ids)) == labels


def test_wordnet_ids_are_the_classes_that_installed_libraries_list() -> None:
    # two lists of different origin: timm's ids in order with torchvision's names, against timm's own id -> lemmas table
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    lemmas = {wnid: info.label_name_to_description(wnid, detailed=False).lower() for wnid in info.label_names()}
    unlike = {class_of_folder(wnid) for wnid, lemma in lemmas.items() if class_of_folder(wnid).lower() not in lemma}
    assert unlike == {"crane bird", "maillot tank suit"}  # torchvision tells them from the crane and from the maillot


def test_a_list_of_files_has_ids_below_the_folder_that_holds_them_all(classes: Path) -> None:
    chosen = [classes / "dog" / "b.jpg", str(classes / "cat"), classes / "cat" / "z.png", classes / "gone.jpg"]
    source = as_source(chosen)
    assert list(source.ids) == ["cat/deep/a.jpg", "cat/z.png", "dog/b.jpg", "gone.jpg"]
    assert torch.equal(source.read(1), read_image(classes / "cat" / "z.png"))
    with pytest.raises(ImageError, match=r"gone.jpg: no such file"):
        source.read(3)
    assert as_source([classes / "cat" / "z.png"]).ids == ("z.png",)
    assert as_source(classes / "cat" / "z.png").ids == ("z.png",)


def test_sources_travel_and_are_read_by_many_threads_at_once(classes: Path) -> None:
    source = pickle.loads(pickle.dumps(as_source(classes)))
    alone = [source.read(sample) for sample in range(4)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(source.read, [0, 1, 2, 3] * 20))
    assert all(torch.equal(one, alone[number % 4]) for number, one in enumerate(together))


def test_fingerprints_follow_names_sizes_and_times_but_not_the_folders_place(classes: Path, tmp_path: Path) -> None:
    source = as_source(classes)
    first = source.fingerprint()
    assert len(first) == 64
    assert first == as_source(classes).fingerprint() == pickle.loads(pickle.dumps(source)).fingerprint()
    moved = classes.rename(tmp_path / "elsewhere")
    assert as_source(moved).fingerprint() == first
    file = moved / "dog" / "b.jpg"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = as_source(moved).fingerprint()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert as_source(moved).fingerprint() == first
    file.write_bytes(file.read_bytes() + b"\0")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    longer = as_source(moved).fingerprint()
    file.rename(file.with_name("c.jpg"))
    assert len({first, touched, longer, as_source(moved).fingerprint()}) == 4


def test_names_that_are_no_utf8_become_ids_that_any_file_can_hold(tmp_path: Path) -> None:
    try:
        file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n.png"))
        picture(file)
    except (OSError, UnicodeError):
        pytest.skip("the file system wants UTF-8")
    source = as_source(tmp_path)
    assert source.ids[0].encode("utf-8") == b"caf\\xe9 \n.png"
    assert source.read(0).shape == (1, 3, 9, 7)
    assert len(source.fingerprint()) == 64


def test_what_is_no_source_is_refused_in_one_line(tmp_path: Path, classes: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images in this folder" in refusal(tmp_path / "empty")
    assert "no such folder or file" in refusal(str(tmp_path / "gone"))
    assert "an empty list" in refusal([])
    assert "an address" in refusal("https://example.org/pictures")
    assert "download it first" in refusal(["https://example.org/a.jpg"])
    assert "a int is no source" in refusal(3)
    assert "close names: imagenette" in refusal("imagnette:160")
    assert "close names: pets" in refusal(str(classes.with_name("pet")))


def test_pipes_devices_broken_links_and_huge_files_are_named_one_by_one(tmp_path: Path) -> None:
    """A pipe that nobody writes into is waited for for ever, and a hole of a terabyte is no picture."""
    picture(tmp_path / "ok.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    source, said = as_source(tmp_path), {}
    for sample, one in enumerate(source.ids):
        try:
            source.read(sample)
        except ImageError as error:
            said[one] = str(error).partition(": ")[2]
    assert sorted(said) == ["broken.png", "device.png", "huge.jpg", "loop.png", "pipe.jpg"]
    for one, words in (
        ("pipe.jpg", "a pipe"),
        ("device.png", "a device"),
        ("broken.png", "no such file"),
        ("huge.jpg", "larger"),
    ):
        assert said[one].startswith(words)


@pytest.mark.parametrize("way", ["inherits", "passes on"])
def test_a_source_of_ones_own_is_asked_for_its_pictures(classes: Path, way: str) -> None:
    """One that changes what another reads, whatever else of that one it has."""
    inner = as_source(classes)

    class Inherits(type(inner)):  # type: ignore[misc]
        def read(self, sample: int) -> torch.Tensor:
            return 1 - super().read(sample)

    class PassesOn:
        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def read(self, sample: int) -> torch.Tensor:
            return 1 - inner.read(sample)

    own = PassesOn() if way == "passes on" else Inherits(*(getattr(inner, field.name) for field in fields(inner)))
    with picture_of(own, 0, Preprocessing()) as pixels:
        assert torch.equal(torch.as_tensor(pixels), 1 - inner.read(0))
