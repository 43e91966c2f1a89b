"""Killed at any moment, on a full disk, with damaged files, twice at once: a scan goes on, with the bits of one run."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import forking
import numpy as np
import pytest
import torch
from crashing import BATCH, SHARD, Slow, network, scan_into, scanned, trackers
from PIL import Image

import tapetum as tp
from tapetum.engines.scan import FolderLedger, ledger
from tapetum.engines.scan.plan import Plan
from tapetum.keeping.whole import write_whole
from tapetum.store import _packed

PICTURES = 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small smooth pictures, one of them damaged."""
    place = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(1)
    for i in range(PICTURES):
        noise = torch.rand(3, 4, 4, generator=generator)
        pixels = torch.nn.functional.interpolate(noise[None], (18, 20), mode="bicubic")[0].clamp(0, 1)
        Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy()).save(place / f"{i:02d}.png")
    (place / "11.png").write_bytes(b"this is no picture")
    return place


@pytest.fixture(scope="module")
def whole(folder: Path) -> Any:
    return scanned(folder, None)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    return forking.processes()


def bits(result: Any) -> tuple[Any, dict[str, bytes]]:
    """All numbers of a result, as bytes."""
    arrays: dict[str, Any] = {}
    tree = _packed(dict(result.results), arrays)
    return (tree, result.skipped, result.ids, result.key), {name: array.tobytes() for name, array in arrays.items()}


def killed(processes: ForkServerContext, log: Path, after_s: float, *arguments: Any) -> int | None:
    """Starts a scan in a process of its own and kills it so long after its first sign of life; its exit status."""
    log.unlink(missing_ok=True)
    process = processes.Process(target=scan_into, args=arguments)
    process.start()
    deadline = time.monotonic() + 60
    while not log.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(after_s)
    process.kill()
    process.join(60)
    return process.exitcode


def assert_tidy(out: Path) -> None:
    assert not [path.name for path in out.rglob(".*")]
    assert {path.name for path in out.iterdir()} == {"plan.json", "shards"}


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_scan_that_was_killed_again_and_again_gives_the_same_bits(
    folder: Path, whole: Any, processes: ForkServerContext, tmp_path: Path, workers: int
) -> None:
    out, log, read = tmp_path / "scan", tmp_path / "log", []
    delays = [0.01, 0.06, 0.1, 0.02, 0.08, 0.04]
    random.Random(workers).shuffle(delays)
    ends = []
    for delay in delays:
        before = FolderLedger(out).done() if out.exists() else set()
        ends.append(killed(processes, log, delay, str(folder), str(out), str(log), 0.01, workers))
        samples = [int(line) for line in log.read_text().split()]
        assert not {sample // SHARD for sample in samples} & before  # what is done is not read again
        read += samples
    assert ends.count(-signal.SIGKILL) >= 5  # the last may have come to its end
    log.unlink()
    result = tp.scan(network(), Slow(folder, log, 0), trackers(), out=out, batch=BATCH, shard=SHARD, workers=workers)
    read += [int(line) for line in log.read_text().split()]
    # each kill cost at most a shard a worker (the picture of a line that was cut off by the kill was read as well)
    assert len(read) <= PICTURES + len(delays) * workers * SHARD
    assert set(read) == set(range(PICTURES))
    assert bits(result) == bits(whole)
    assert_tidy(out)


@pytest.mark.parametrize("number", [1, 2, pytest.param(5, marks=pytest.mark.slow)])  # plan.json, the first shard, the fourth
def test_a_kill_in_the_middle_of_a_write_leaves_no_half_file_under_a_final_name(
    folder: Path, whole: Any, processes: ForkServerContext, tmp_path: Path, number: int
) -> None:
    out, log = tmp_path / "scan", tmp_path / "log"
    process = processes.Process(target=scan_into, args=(str(folder), str(out), str(log), 0.0, 1, number))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert list(out.rglob(".tapetum-*"))
    assert FolderLedger(out).done() == set(range(number - 2 if number > 1 else 0))
    result = scanned(folder, out)
    assert result.resumed == SHARD * max(0, number - 2)
    assert bits(result) == bits(whole)
    assert_tidy(out)


@pytest.mark.parametrize("damage", ["cut", "flipped", "another", "missing"])
def test_a_damaged_shard_is_noticed_and_made_again(folder: Path, whole: Any, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "scan"
    scanned(folder, out)
    shard = out / "shards" / "000003.npz"
    data = bytearray(shard.read_bytes())
    if damage == "cut":
        shard.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        place = data.index(b"maximum key") + 200  # inside the numbers
        data[place] ^= 1
        shard.write_bytes(data)
    elif damage == "another":
        tp.scan(network(), folder, {"0": tp.Spectrum(k=3)}, out=tmp_path / "other", batch=BATCH, shard=SHARD)
        shard.write_bytes((tmp_path / "other" / "shards" / shard.name).read_bytes())
    else:
        shard.unlink()
    again = scanned(folder, out)
    assert bits(again) == bits(whole)
    assert again.resumed == PICTURES - (SHARD if damage == "missing" else 0)
    assert len(again.notes) == (0 if damage == "missing" else 1)
    if again.notes:
        assert "000003.npz" in again.notes[0]
        assert again.notes[0].endswith("made again")
    assert scanned(folder, out).notes == ()


def test_shards_from_processors_of_several_kinds_are_said(
    folder: Path, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scan"
    assert scanned(folder, out).notes == ()
    (out / "shards" / "000002.npz").unlink()
    other = "AVX2" if os.environ.get("MKL_CBWR") == "COMPATIBLE" else "COMPATIBLE"
    monkeypatch.setenv("MKL_CBWR", other)  # read when torch starts: here it changes what is noted, not the numbers
    again = scanned(folder, out)
    assert bits(again) == bits(whole)
    assert len(again.notes) == 1
    assert again.notes[0].startswith("shards come from processors of several kinds, whose last bits differ")
    assert f"MKL_CBWR={other}: 1" in again.notes[0]
    assert str(torch.backends.cpu.get_cpu_capability()) in again.notes[0]


def test_every_bit_of_a_shard_is_watched(folder: Path, tmp_path: Path) -> None:
    """The whole file is under one checksum, behind the archive, which numpy reads as it is."""
    keeper = FolderLedger(tmp_path / "scan")
    keeper.key = scanned(folder, keeper).key
    file = tmp_path / "scan" / "shards" / "000002.npz"
    data = file.read_bytes()
    with np.load(file) as arrays:
        assert torch.equal(torch.from_numpy(arrays["2|0|maximum key"]), keeper.read(2).states["2"][0]["maximum key"])
    order = random.Random(0)
    for _ in range(200):
        broken = bytearray(data)
        broken[order.randrange(len(data))] ^= 1 << order.randrange(8)
        with pytest.raises(tp.TapetumError):
            ledger.unpacked(bytes(broken), "it", keeper.key)
    assert ledger.packed(ledger.unpacked(data, "it", keeper.key), keeper.key) == data


def test_a_plan_that_cannot_be_read_costs_nothing(folder: Path, whole: Any, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    scanned(folder, out)
    (out / "plan.json").write_text('{"key": "')
    again = scanned(folder, out)
    assert again.resumed == PICTURES
    assert bits(again) == bits(whole)


def test_a_full_disk_is_one_line_and_the_scan_goes_on_once_there_is_room(
    folder: Path, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, room = tmp_path / "scan", iter([True] * 8)
    sync = os.fsync

    def full(file: int) -> None:
        if not next(room, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(tp.TapetumError, match=r"cannot be written \(No space left on device\); once it can, the same command"):
        scanned(folder, out, workers=1)
    monkeypatch.undo()
    assert FolderLedger(out).done() == {0, 1, 2}
    assert_tidy(out)
    again = scanned(folder, out)
    assert again.resumed == 3 * SHARD
    assert bits(again) == bits(whole)


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(tp.TapetumError, match=r"file/scan/shards cannot be written \(Not a directory\)"):
        scanned(folder, tmp_path / "file" / "scan")


def test_two_runs_on_one_folder_at_once_do_no_harm(
    folder: Path, whole: Any, processes: ForkServerContext, tmp_path: Path
) -> None:
    out, logs = tmp_path / "scan", [tmp_path / "a", tmp_path / "b"]
    many = [processes.Process(target=scan_into, args=(str(folder), str(out), str(log), 0.002, 2)) for log in logs]
    for process in many:
        process.start()
    for process in many:
        process.join(60)
    assert [process.exitcode for process in many] == [0, 0]
    assert_tidy(out)
    again = scanned(folder, out)
    assert again.resumed == PICTURES
    assert bits(again) == bits(whole)


def test_a_writer_whose_unfinished_file_is_cleared_away_writes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, times = os.fsync, []

    def cleared(file: int) -> None:
        sync(file)
        times.append(1)
        if len(times) < 3:
            for part in tmp_path.glob(".tapetum-*"):
                part.unlink()

    monkeypatch.setattr(os, "fsync", cleared)
    write_whole(tmp_path / "shard", b"all of it")
    assert (tmp_path / "shard").read_bytes() == b"all of it"
    assert len(times) == 4  # of three files, and of the folder


def test_limit_counts_only_the_pictures_that_were_asked_for(folder: Path) -> None:
    result = scanned(folder, None, limit=20)
    assert len(result.ids) == 20
    assert result.images == 19
    assert Plan(20, BATCH, SHARD).count == 20
