"""Shards as Parquet at a URL: the bits of a folder's, resumed, shared, damaged and refused like them."""

from __future__ import annotations

import io
import pickle
import random
import uuid
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow.parquet
import pytest
import torch
from crashing import BATCH, SHARD, network, noise, scanned, trackers
from fsspec.implementations.memory import MemoryFileSystem

import tapetum as tp
from tapetum.engines.scan import FolderLedger, ParquetLedger, parquet
from tapetum.keeping.whole import LEFTOVER
from tapetum.store import _packed

PICTURES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    noise(place, PICTURES)
    (place / "11.png").write_bytes(b"this is no picture")
    return place


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid.uuid4().hex}/scan" if request.param == "memory" else f"file://{tmp_path}/there/scan"


def bits(result: Any) -> tuple[Any, dict[str, bytes]]:
    arrays: dict[str, Any] = {}
    tree = _packed(dict(result.results), arrays)
    return (tree, result.skipped, result.ids, result.key), {name: array.tobytes() for name, array in arrays.items()}


def names(url: str) -> set[str]:
    files, place = fsspec.core.url_to_fs(url)
    return {path.rsplit("/", 1)[-1] for path in files.find(place)}


@pytest.mark.parametrize("url", ["memory", "file"], indirect=True)
def test_bits_are_those_of_a_folder_and_a_stopped_scan_goes_on(folder: Path, tmp_path: Path, url: str) -> None:
    expected = scanned(folder, tmp_path / "plain")

    def stop(event: tp.Progress) -> bool:
        return event.done < 12

    with pytest.raises(tp.Cancelled), tp.watching(stop):
        scanned(folder, url, workers=1)
    done = ParquetLedger(url).done()
    assert 0 < len(done) < 4
    result = scanned(folder, url, workers=2)
    assert result.resumed == SHARD * len(done)
    assert bits(result) == bits(expected)
    assert names(url) == {"plan.json", *(f"00000{i}.parquet" for i in range(4))}
    again = scanned(folder, url, resume=False)
    assert again.resumed == 0
    assert bits(again) == bits(expected)


class Disk(MemoryFileSystem):
    """A file system in which half a file can be seen: writes a name at a time, and notes the names."""

    protocol = "halfdisk"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    written: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("halfdisk://", "memory://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        self.written.append(path.rsplit("/", 1)[-1])
        super().pipe_file(path, value, mode, **more)


def test_where_half_a_file_can_be_seen_files_are_moved_to_their_names(folder: Path) -> None:
    fsspec.register_implementation("halfdisk", Disk, clobber=True)
    expected = scanned(folder, None)
    result = scanned(folder, "halfdisk://scan")
    assert bits(result) == bits(expected)
    assert len(Disk.written) == 5
    assert all(LEFTOVER.fullmatch(name) for name in Disk.written)
    assert names("halfdisk://scan") == {"plan.json", *(f"00000{i}.parquet" for i in range(4))}
    files, _ = fsspec.core.url_to_fs("halfdisk://scan")
    files.pipe_file(f"/scan/shards/.tapetum-{'0' * 32}", b"a run that was killed left this")
    assert bits(scanned(folder, "halfdisk://scan")) == bits(expected)
    assert names("halfdisk://scan") == {"plan.json", *(f"00000{i}.parquet" for i in range(4))}


def test_every_state_is_a_row_that_other_programs_read(folder: Path, tmp_path: Path) -> None:
    keeper = FolderLedger(tmp_path / "plain")
    keeper.key = scanned(folder, keeper).key
    scanned(folder, f"file://{tmp_path}/there")
    table = pyarrow.parquet.read_table(tmp_path / "there" / "shards" / "000001.parquet").to_pylist()
    states = keeper.read(1).states
    expected = {
        (layer, i, name): tensor.numpy()
        for layer, many in states.items()
        for i, state in enumerate(many)
        for name, tensor in state.items()
    }
    found = {(row["layer"], row["tracker"], row["name"]): row for row in table if row["tracker"] >= 0}
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key]["bytes"] == array.tobytes()
        assert found[key]["shape"] == list(array.shape)
        assert found[key]["dtype"] == array.dtype.str


def test_a_damaged_file_never_gives_other_numbers(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "there"
    whole = scanned(folder, f"file://{out}")
    file = out / "shards" / "000002.parquet"
    data, order = file.read_bytes(), random.Random(0)
    expected = parquet.from_parquet(data, "it", whole.key)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        broken[order.randrange(len(data))] ^= 1 << order.randrange(8)
        try:
            found = parquet.from_parquet(bytes(broken), "it", whole.key)
        except tp.TapetumError:
            refused += 1
        else:  # a bit that says nothing of the content, such as a page's statistics
            assert parquet.as_parquet(found, whole.key) == parquet.as_parquet(expected, whole.key)
    assert refused > 50
    file.write_bytes(data[: len(data) // 2])
    again = scanned(folder, f"file://{out}")
    assert again.notes[0].endswith("made again")
    assert bits(again) == bits(whole)


def test_another_scan_at_the_url_is_refused_and_its_shards_are_never_taken(folder: Path, tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    scanned(folder, url)
    with pytest.raises(tp.TapetumError, match=r"memory://\w+ holds another scan \(trackers was .*--no-resume"):
        tp.scan(network(), folder, {"0": tp.TopK()}, out=url, batch=BATCH, shard=SHARD)
    files, place = fsspec.core.url_to_fs(url)
    files.rm_file(f"{place}/plan.json")  # the plan is lost, the shards are not: they know whose they are
    other = tp.scan(network(), folder, {"0": tp.TopK()}, out=url, batch=BATCH, shard=SHARD)
    assert len(other.notes) == 4
    assert bits(other) == bits(tp.scan(network(), folder, {"0": tp.TopK()}, batch=BATCH, shard=SHARD))


def test_a_ledger_can_be_pickled_and_keeps_its_key(folder: Path) -> None:
    keeper = ParquetLedger(f"memory://{uuid.uuid4().hex}")
    scanned(folder, keeper)
    twin = pickle.loads(pickle.dumps(keeper))
    states = twin.read(3).states
    assert all(torch.equal(states["0"][1][name], tensor) for name, tensor in keeper.read(3).states["0"][1].items())


def test_what_cannot_work_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(tp.TapetumError, match=r"bla://x cannot be understood \(Protocol not known: bla\); give s3://"):
        scanned(folder, "bla://x")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(tp.TapetumError, match=r"scan cannot be read \(Not a directory\)"):
        scanned(folder, f"file://{tmp_path}/file/scan")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(tp.TapetumError, match=r"pip install 'tapetum\[scale\]'"):
        scanned(folder, "memory://x")


def test_rows_hold_the_line_about_the_shard_first(folder: Path) -> None:
    keeper = ParquetLedger(f"memory://{uuid.uuid4().hex}")
    result = scanned(folder, keeper)
    data = parquet.as_parquet(keeper.read(1), result.key)
    first = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()[0]
    assert first["name"] == "about"
    assert b'"skipped": [[11, ' in first["bytes"]
    assert trackers().keys() == result.keys()
