"""Claims about data sets of `datasets`, read for real and without a network: the same pictures as their files, in order."""

from __future__ import annotations

import os
import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum as tp
from tapetum.data.images import read_image
from tapetum.data.streams import Source, as_source
from tapetum.data.streams import rows as rows_module
from tapetum.types import ImageError, TapetumError

N_EACH = 90  # of each class: more than one mark


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library, told to stay offline and to keep its files in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        library = pytest.importorskip("datasets")
        import huggingface_hub.constants

        for module in (library.config, huggingface_hub.constants):  # read from the environment at import, which may be past
            patch.setattr(module, "HF_HUB_OFFLINE", True)
        yield library


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "pets"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(N_EACH):
            noise = np.random.default_rng(1000 * number + i).integers(0, 256, (7, 9, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{i:03}.{'png' if i % 2 else 'jpg'}")
    return root


@pytest.fixture(scope="module")
def files(pets: Path) -> list[Path]:
    return sorted(pets.rglob("*.*"))


@pytest.fixture(scope="module")
def parquet(datasets: Any, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures inside a table, with class names; two pictures are missing, one is damaged, one has no label."""
    pictures = [{"bytes": file.read_bytes(), "path": None} for file in files]
    pictures[3], pictures[5] = None, {"bytes": pictures[5]["bytes"][:-40], "path": None}
    labels = [-1 if i == 7 else i // N_EACH for i in range(len(files))]
    features = datasets.Features(
        {"id": datasets.Value("int64"), "img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    table = datasets.Dataset.from_dict({"id": list(range(len(files))), "img": pictures, "label": labels}, features=features)
    path = tmp_path_factory.mktemp("table") / "pets.parquet"
    table.to_parquet(path, batch_size=40)
    return path


def refusal(source: Any) -> str:
    with pytest.raises(ImageError) as caught:
        as_source(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_is_streamed_with_the_names_of_its_classes(datasets: Any, pets: Path, files: list[Path]) -> None:
    stream = datasets.load_dataset("imagefolder", data_dir=str(pets), streaming=True)
    for given in (f"hf:imagefolder:train?data_dir={pets}", f"hf:imagefolder?data_dir={pets}", stream["train"]):
        source = as_source(given)
        assert list(source.ids) == [f"{sample:08d}" for sample in range(2 * N_EACH)]
        assert list(source.labels) == ["cat"] * N_EACH + ["dog"] * N_EACH
        for sample in (0, 1, 2 * N_EACH - 1, N_EACH, 2):
            assert torch.equal(source.read(sample), read_image(files[sample]))
    assert "several splits (train); give one of them" in refusal(stream)


def test_a_table_is_read_in_any_order_and_damage_is_refused_by_number(datasets: Any, parquet: Path, files: list[Path]) -> None:
    whole = datasets.Dataset.from_parquet(str(parquet), cache_dir=str(parquet.parent / "cache"))
    for given in (f"hf:parquet?data_files={parquet}", whole):
        source = as_source(given)
        assert (source.image, source.label, len(source.ids)) == ("img", "label", 2 * N_EACH)
        assert list(source.labels)[6:9] == ["cat", None, "cat"]
        order = random.Random(0).sample(range(2 * N_EACH), k=40)
        for sample in [one for one in order if one not in (3, 5)]:
            assert torch.equal(source.read(sample), read_image(files[sample]))
        for sample, says in ((3, "00000003: no picture in this row"), (5, "00000005: ")):
            with pytest.raises(ImageError, match=says):
                source.read(sample)


def test_many_threads_read_one_stream_in_any_order(parquet: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_KEPT_BYTES", 3000)  # a few pictures: who asks for an earlier one goes back
    source = pickle.loads(pickle.dumps(as_source(f"hf:parquet?data_files={parquet}")))
    order = random.Random(1).choices([one for one in range(2 * N_EACH) if one != 3], k=60)
    with ThreadPoolExecutor(6) as pool:
        contents = list(pool.map(source.content, order))
    assert all(content == files[sample].read_bytes() for sample, content in zip(order, contents, strict=True) if sample != 5)
    assert sorted(source.rows._marks) == [128]


def test_going_on_reads_each_row_once(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_source(f"hf:parquet?data_files={parquet}")
    steps = []
    step = rows_module.Stream._step
    monkeypatch.setattr(rows_module.Stream, "_step", lambda self: (steps.append(self._next), step(self))[1])
    for sample in range(10, 40):
        source.rows.row(sample)
        source.rows.row(sample - 10)  # another worker is behind
    assert steps == list(range(40))


def test_asking_for_a_source_reads_no_labels(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_source(f"hf:parquet?data_files={parquet}&limit=4&label=label")
    source.rows._values.clear()
    monkeypatch.setattr(rows_module.Stream, "counted", lambda *_: pytest.fail("read"))
    assert isinstance(source, Source)  # Python 3.11 asks every attribute for this
    assert as_source(source) is source
    assert len(source.labels) == 4


def test_limits_and_columns_are_options(parquet: Path, pets: Path) -> None:
    source = as_source(f"hf:parquet:train?data_files={parquet}&limit=20&label=id&image=img")
    assert len(source.ids) == len(source.labels) == 20
    assert list(source.labels) == [str(i) for i in range(20)]
    assert source.name == "parquet/train"
    with pytest.raises(ImageError, match="no column nose; its columns: id, img, label"):
        as_source(f"hf:parquet?data_files={parquet}&label=nose")
    assert "no column id; give one with image=: img" in refusal(f"hf:parquet?data_files={parquet}&image=id")
    assert "no split vali; there are: train" in refusal(f"hf:imagefolder:vali?data_dir={pets}")
    assert "no option limits, limit?" in refusal("hf:mnist?limits=3")
    assert "limit is a number" in refusal("hf:mnist?limit=few")
    assert "names no data set" in refusal("hf:")


def test_a_stream_that_ends_before_its_published_number_is_refused_there(parquet: Path) -> None:
    source = as_source(f"hf:parquet?data_files={parquet}")
    for sample in (2 * N_EACH + 3, 2 * N_EACH, 2 * N_EACH + 3):
        with pytest.raises(ImageError, match=f"ends after {2 * N_EACH} pictures"):
            source.rows.row(sample)
    assert source.rows.row(0)["label"] == 0


def test_fingerprints_follow_the_data(datasets: Any, pets: Path, files: list[Path]) -> None:
    text = f"hf:imagefolder?data_dir={pets}"
    stream = datasets.load_dataset("imagefolder", data_dir=str(pets), split="train", streaming=True)
    first, opened = as_source(text).fingerprint(), as_source(stream).fingerprint()
    assert first == as_source(text).fingerprint() == pickle.loads(pickle.dumps(as_source(text))).fingerprint()
    assert opened == as_source(stream).fingerprint()
    assert as_source(text + "&limit=5").fingerprint() != first
    assert as_source(stream.take(5)).fingerprint() != opened
    status = files[4].stat()
    try:
        os.utime(files[4], ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
        assert as_source(text).fingerprint() != first
        assert as_source(stream).fingerprint() != opened
    finally:
        os.utime(files[4], ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_broken_stream_stops_the_work_instead_of_skipping_pictures(datasets: Any) -> None:
    def rows(fails: list[bool]) -> Any:
        for i in range(4):
            if i == 2 and fails:
                raise OSError("the line is dead")
            yield {"image": {"bytes": b"no picture", "path": None}}

    features = datasets.Features({"image": datasets.Image()})
    stream = datasets.IterableDataset.from_generator(rows, gen_kwargs={"fails": [True]}, features=features)
    source = rows_module.Stream(stream.cast_column("image", datasets.Image(decode=False)))
    assert source.row(1)
    for _ in range(2):
        with pytest.raises(tp.TapetumError, match=r"broke at picture 2 \(the line is dead\); start again") as caught:
            source.row(3)
        assert not isinstance(caught.value, ImageError)  # which a scan would count as a picture of its own fault


def test_what_cannot_be_opened_is_refused_in_one_line(datasets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "hf:nobody/nothing: cannot be opened" in refusal("hf:nobody/nothing")
    words = datasets.Dataset.from_dict({"text": ["hello"], "label": [1]})
    assert "no column of pictures; its columns: text, label" in refusal(words)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'tapetum[hf]'" in refusal("hf:mnist")


def test_a_damaged_table_is_one_line(datasets: Any, parquet: Path, tmp_path: Path) -> None:
    """Arrow's own errors came out of the reading."""
    whole, chance = parquet.read_bytes(), random.Random(0)
    for number in range(6):
        damaged = bytearray(whole)
        for _ in range(30):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        place = tmp_path / str(number)
        place.mkdir()
        (place / "train-0.parquet").write_bytes(damaged)
        try:
            source = as_source(f"hf:{place}:train")
            for sample in range(len(source.ids)):
                with suppress(ImageError):
                    source.read(sample)
        except TapetumError as error:
            assert "\n" not in str(error)
