"""Two Ray actors, for real: the bits of threads, also when an actor dies; errors as they are; only what was begun is ended."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launching import PICTURES, Deadly, Forked, Stumbling, bits, command, ended, made, started
from zoo import vision_model

import tapetum as tp
from tapetum.engines.scan import FolderLedger
from tapetum.runners import Ray
from tapetum.store import _packed

SAMPLE = 21  # of the third shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ray")
    made(place)
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One of two cores, which a runner uses and leaves as it is."""
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray announces its own future changes
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves files for the garbage collector to close
        ray.shutdown()
        gc.collect()


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, bytes]:
    """What the command finds without Ray."""
    status, _, errors = Forked(command("whole"), folder).ended()
    assert status == 1, errors
    return bits(folder / "whole")


@pytest.fixture(scope="module")
def of_threads(folder: Path) -> tuple[Any, dict[str, bytes]]:
    return arrays(scanned(folder / "photos"))


def scanned(source: Any, **settings: Any) -> Any:
    return tp.scan(
        vision_model("residual"), source, {"first.two": [tp.Spectrum(k=2), tp.TopK(k=3)]}, batch=4, shard=8, **settings
    )


def arrays(result: Any) -> tuple[Any, dict[str, bytes]]:
    found: dict[str, Any] = {}
    tree = _packed(dict(result.results), found)
    return (tree, result.skipped, result.key), {name: array.tobytes() for name, array in found.items()}


@pytest.mark.slow
def test_two_actors_give_the_bits_of_threads_with_and_without_a_ledger(
    folder: Path, of_threads: Any, cluster: Any, tmp_path: Path
) -> None:
    events: list[tp.Progress] = []
    with tp.watching(events.append):
        through = scanned(folder / "photos", run=Ray("auto", 2))
    assert arrays(through) == of_threads
    assert events[-1].done == PICTURES
    scanned(folder / "photos", out=tmp_path / "scan")
    for shard in (1, 6):
        (tmp_path / "scan" / "shards" / f"{shard:06d}.npz").unlink()
    again = scanned(folder / "photos", run=Ray("auto", 2), out=tmp_path / "scan")
    assert again.resumed == PICTURES - 16
    assert arrays(again) == of_threads
    assert cluster.is_initialized()


@pytest.mark.slow
def test_the_shard_of_an_actor_that_died_is_given_to_another(
    folder: Path, of_threads: Any, cluster: Any, tmp_path: Path
) -> None:
    source = Deadly(folder, SAMPLE)
    result = scanned(source, run=Ray("auto", 2), out=tmp_path / "scan")
    assert source.mark.exists()
    assert arrays(result) == of_threads


@pytest.mark.slow
def test_a_shard_that_brings_down_every_actor_is_named_in_one_line_and_the_rest_is_kept(
    folder: Path, of_threads: Any, cluster: Any, tmp_path: Path
) -> None:
    with pytest.raises(tp.TapetumError, match=r"^3 workers died over the pictures 16.png to 23.png; leave") as caught:
        scanned(Deadly(folder, SAMPLE, always=True), run=Ray("auto", 2), out=tmp_path / "scan")
    assert "\n" not in str(caught.value)
    done = FolderLedger(tmp_path / "scan").done()
    assert done
    assert 2 not in done
    assert arrays(scanned(folder / "photos", out=tmp_path / "scan")) == of_threads


@pytest.mark.slow
def test_errors_inside_an_actor_arrive_as_they_are_and_work_can_be_stopped(folder: Path, cluster: Any) -> None:
    with pytest.raises(tp.TapetumError, match=r"^one of ours$"):
        scanned(Stumbling(folder, SAMPLE, always=True), run=Ray("auto", 1))
    with pytest.raises(RuntimeError, match="nobody foresaw"):
        scanned(Stumbling(folder, SAMPLE), run=Ray("auto", 1))
    with pytest.raises(tp.Cancelled), tp.watching(lambda event: event.done < 16):
        scanned(folder / "photos", run=Ray("auto", 1))


@pytest.mark.slow
def test_the_command_runs_on_a_cluster_of_its_own_with_a_model_from_a_file(folder: Path, whole: dict[str, bytes]) -> None:
    status, out, errors = ended(started(command("rays", "--ray", "local", "--workers", "2"), folder))
    assert status == 1, errors
    assert out.startswith("59 pictures, ")
    assert bits(folder / "rays") == whole


@pytest.mark.slow
def test_what_a_worker_lacks_is_one_line(folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("a_module_of_this_process")
    source = Deadly(folder, -1)
    module.Deadly = type("Deadly", (Deadly,), {"__module__": module.__name__, "__qualname__": "Deadly"})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source.__class__ = module.Deadly
    with pytest.raises(tp.TapetumError, match=r"cannot begin .*No module named 'a_module_of_this_process'"):
        scanned(source, run=Ray("auto", 1))


@pytest.mark.slow
def test_the_command_joins_a_cluster_that_is_there_and_leaves_it_running(
    folder: Path, whole: dict[str, bytes], cluster: Any
) -> None:
    address = cluster.get_runtime_context().gcs_address
    status, _, errors = Forked(command("joined", "--ray", address, "--workers", "1"), folder).ended()
    assert status == 1, errors
    assert bits(folder / "joined") == whole
    assert cluster.cluster_resources()["CPU"] == 2


@pytest.mark.slow
def test_no_cluster_is_one_line(folder: Path) -> None:
    status, _, errors = Forked(command("none", "--ray", "127.0.0.1:1"), folder).ended()
    assert status == 2
    assert errors.startswith("tapetum: no Ray cluster answers at 127.0.0.1:1 (")
    assert len(errors.splitlines()) == 1


def test_without_ray_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(tp.TapetumError, match=r"pip install 'tapetum\[ray\]'"):
        scanned(folder / "photos", run=Ray())
    with pytest.raises(tp.TapetumError, match="workers must be at least 1"):
        Ray(workers=0)
