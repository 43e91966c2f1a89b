"""Several processes of torchrun or SLURM share a scan, and give the bits of one; one that dies is made up for."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launching import PICTURES, Forked, bits, command, ended, made, started
from zoo import vision_model

import tapetum as tp
from tapetum.data.streams import as_source
from tapetum.engines.scan import FolderLedger
from tapetum.runners import Ranks
from tapetum.runners.ranks import found_launcher
from tapetum.store import _packed

SLURM = ("SLURM_PROCID", "SLURM_NTASKS")


def variables(rank: int, size: int) -> dict[str, str]:
    return dict(zip(SLURM, (str(rank), str(size)), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    made(place)
    return place


def arrays(result: Any) -> dict[str, bytes]:
    found: dict[str, Any] = {}
    _packed(dict(result.results), found)
    return {name: array.tobytes() for name, array in found.items()}


def scanned(folder: Path, **settings: Any) -> Any:
    return tp.scan(vision_model("linear_conv"), folder / "photos", {"0": tp.Spectrum(k=2)}, batch=4, shard=8, **settings)


# --- in one process


@pytest.mark.parametrize("size", [2, 3, 11])
def test_any_rank_alone_comes_to_the_end_and_only_the_first_returns_it(folder: Path, tmp_path: Path, size: int) -> None:
    """The others never start: what is theirs is taken over."""
    whole = scanned(folder)
    for rank in (size - 1, 0):
        out = tmp_path / str(rank)
        result = scanned(folder, out=out, run=Ranks(1, variables(rank, size)))
        assert FolderLedger(out).done() == set(range(8))
        if rank:
            assert not result
            assert result.notes == ("rank 0 has the result",)
        else:
            assert arrays(result) == arrays(whole)
            assert result.skipped == whole.skipped


def test_a_rank_does_its_own_share_first_and_nothing_that_is_done(folder: Path, tmp_path: Path) -> None:
    read: list[int] = []

    class Noting:
        def __init__(self) -> None:
            self.inner = as_source(folder / "photos")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def read(self, sample: int) -> torch.Tensor:
            read.append(sample // 8)
            return self.inner.read(sample)

    model, out = vision_model("linear_conv"), tmp_path / "out"
    trackers = {"0": tp.Spectrum(k=2)}
    tp.scan(model, Noting(), trackers, batch=4, shard=8, out=out, run=Ranks(1, variables(1, 3)))
    assert list(dict.fromkeys(read)) == [1, 4, 7, *(shard for shard in dict.fromkeys(read) if shard % 3 != 1)]
    for shard in (2, 4):
        (out / "shards" / f"{shard:06d}.npz").unlink()
    read.clear()
    tp.scan(model, Noting(), trackers, batch=4, shard=8, out=out, run=Ranks(1, variables(0, 3)))
    assert set(read) == {2, 4}


def test_progress_counts_every_picture_once_whoever_did_it(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tapetum.runners.ranks.LOOK_S", 0.0)
    events: list[tp.Progress] = []
    out, others = tmp_path / "out", tmp_path / "others"
    scanned(folder, out=others)

    def watch(event: tp.Progress) -> None:
        events.append(event)
        if event.done == 8:  # meanwhile another rank has done two of its shards
            for shard in ("000001.npz", "000003.npz"):
                (out / "shards" / shard).write_bytes((others / "shards" / shard).read_bytes())

    with tp.watching(watch):
        result = scanned(folder, out=out, run=Ranks(1, variables(0, 2)))
    counts = [event.done for event in events]
    assert counts == sorted(counts)
    assert counts[-1] == PICTURES
    assert arrays(result) == arrays(scanned(folder))


def test_what_makes_no_sense_is_one_line(folder: Path) -> None:
    with pytest.raises(tp.TapetumError, match="no ranks here: RANK, WORLD_SIZE, LOCAL_RANK"):
        Ranks(environment={})
    with pytest.raises(tp.TapetumError, match="rank 3 of 2 makes no sense"):
        Ranks(environment=variables(3, 2))
    with pytest.raises(tp.TapetumError, match="through a ledger: give out="):
        scanned(folder, run=Ranks(1, variables(0, 2)))
    with pytest.raises(tp.TapetumError, match="several ranks cannot clear"):
        scanned(folder, out=folder / "never", resume=False, run=Ranks(1, variables(0, 2)))
    assert not (folder / "never").exists()


def test_launchers_are_told_by_their_variables() -> None:
    assert found_launcher({"RANK": "1", "WORLD_SIZE": "2"}) == "torchrun"
    assert found_launcher(variables(0, 1)) == "SLURM"
    assert found_launcher({"RANK": "1"}) is None
    assert found_launcher({"RANK": "", "WORLD_SIZE": "2"}) is None
    ranks = Ranks(environment={"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **variables(0, 2)})
    assert (ranks.rank, ranks.size, ranks.collects) == (3, 4, False)
    assert ranks.device == ("cpu" if not torch.cuda.is_available() else f"cuda:{1 % torch.cuda.device_count()}")


# --- in processes of their own, as people start them


@pytest.fixture(scope="module")
def one(folder: Path) -> dict[str, bytes]:
    """What a process finds by itself."""
    status, _, errors = ended(started(command("one"), folder))
    assert status == 1, errors  # a picture was skipped, and named
    return bits(folder / "one")


@pytest.mark.slow
def test_torchrun_and_slurm_give_the_bits_of_one_process(folder: Path, one: dict[str, bytes]) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    status, out, errors = ended(started([*launcher, *command("two")], folder))
    assert status == 0, errors  # to torchrun any other is a crash
    assert out.count("59 pictures") == 1  # one rank speaks
    assert bits(folder / "two") == one
    ranks = [Forked(command("three"), folder, **variables(rank, 2)) for rank in (0, 1)]
    ends = [rank.ended() for rank in ranks]
    assert [status for status, _, _ in ends] == [1, 0]
    assert ends[1][1:] == ("", "")
    assert bits(folder / "three") == one


@pytest.mark.slow
def test_a_rank_that_is_killed_is_made_up_for_and_may_be_run_again(folder: Path, one: dict[str, bytes]) -> None:
    ranks = [Forked(command("killed"), folder, SLOW_S=0.05, **variables(rank, 2)) for rank in (0, 1)]
    _wait_for_shards(folder / "killed", 1)
    ranks[1].send_signal(signal.SIGKILL)
    assert ranks[1].ended()[0] == -signal.SIGKILL
    assert ranks[0].ended()[0] == 1
    assert bits(folder / "killed") == one
    ranks = [Forked(command("first"), folder, SLOW_S=0.05, **variables(rank, 2)) for rank in (0, 1)]
    _wait_for_shards(folder / "first", 1)
    ranks[0].send_signal(signal.SIGKILL)  # the one that would have saved: the other does the work all the same
    ranks[0].ended()
    assert ranks[1].ended()[0] == 0
    assert not (folder / "first" / "scan.json").exists()
    assert Forked(command("first"), folder, **variables(0, 2)).ended()[0] == 1
    about = json.loads((folder / "first" / "scan.json").read_text())
    assert about["resumed"] == PICTURES
    assert bits(folder / "first") == one


def _wait_for_shards(out: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(out.glob("shards/*.npz"))) < count and time.monotonic() < deadline:
        time.sleep(0.01)
