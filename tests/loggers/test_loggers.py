"""What was logged is there, also after a kill, and in the formats of others, read back by their own readers."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from zoo import vision_model

import tapetum as tp
from tapetum import loggers
from tapetum.loggers import JSONLines, TensorBoard, Throughput, closing, open_logger

VALUES = [({"pictures": 0}, 0), ({"pictures": 16, "pictures_per_s": 32.5}, 16), ({"pictures": 20, "skipped": 2}, 20)]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_json_lines_are_appended_and_there_at_once(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "scan.jsonl"
    first = JSONLines(file)
    first.log({"pictures": 3, "rate": 1.5}, 3)
    assert [{key: line[key] for key in ("step", "pictures", "rate")} for line in lines(file)] == [
        {"step": 3, "pictures": 3, "rate": 1.5}
    ]  # before it is closed: a killed program loses nothing
    first.close()
    with closing([JSONLines(file)]) as (again,):
        again.log({"pictures": 4}, 4)
    assert [line["step"] for line in lines(file)] == [3, 4]


def test_a_line_that_a_kill_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "scan.jsonl"
    file.write_text('{"step": 1}\n{"step": 2, "pict')
    with closing([JSONLines(file)]) as (again,):
        again.log({"pictures": 4}, 4)
    kept = file.read_text().splitlines()
    assert kept[1] == '{"step": 2, "pict'
    assert json.loads(kept[2])["pictures"] == 4


class Noting:
    def __init__(self) -> None:
        self.rows: list[tuple[dict[str, Any], int]] = []
        self.closed = 0

    def log(self, values: Any, step: int) -> None:
        self.rows.append((dict(values), step))

    def close(self) -> None:
        self.closed += 1


def test_events_are_thinned_but_the_first_and_the_last_are_kept() -> None:
    now, noting = [0.0], Noting()
    watch = Throughput([noting], every_s=1.0, clock=lambda: now[0])
    for done in range(101):
        now[0] = done / 20
        watch(tp.Progress(done, 100, "pictures", 20.0 if done else None))
    assert [step for _, step in noting.rows] == [0, 20, 40, 60, 80, 100]
    assert noting.rows[1] == ({"pictures": 20, "pictures_per_s": 20.0, "seconds_left": 4.0}, 20)
    assert noting.rows[-1][0]["seconds_left"] == 0


def test_loggers_are_closed_when_the_work_fails() -> None:
    noting = Noting()
    with pytest.raises(tp.Cancelled), closing([noting]):
        raise tp.Cancelled("stopped")
    assert noting.closed == 1


def test_a_scan_is_a_stream_of_events_that_can_be_logged(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(10):
        Image.new("RGB", (16, 16), (25 * i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
    model = vision_model("linear_conv")
    with closing([JSONLines(tmp_path / "a.jsonl")]) as many, tp.watching(Throughput(many, every_s=0.0)):
        tp.scan(model, tmp_path / "pictures", {"0": tp.TopK()}, batch=4, shard=4)
    rows = lines(tmp_path / "a.jsonl")
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert rows[-1]["pictures"] == rows[-1]["step"] == 10
    assert rows[-1]["seconds_left"] == 0


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part in (VALUES[:2], VALUES[2:]):  # in two runs
        with closing([TensorBoard(tmp_path)]) as (board,):
            for values, step in part:
                board.log(values, step)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(one.step, one.value) for one in events.Scalars("pictures")] == [(0, 0), (16, 16), (20, 20)]
    assert [(one.step, one.value) for one in events.Scalars("skipped")] == [(20, 2)]


OFFLINE = """
import sys
from pathlib import Path
from tapetum.loggers import closing, open_logger
about = {"model": "tiny", "layers": "a,b"}
with closing([open_logger("wandb", Path(sys.argv[1]), about)]) as (logger,):
    for values, step in [({"pictures": 0}, 0), ({"pictures": 16, "pictures_per_s": 32.5}, 16)]:
        logger.log(values, step)
"""


def records(data: bytes) -> list[bytes]:
    """What a log in LevelDB's format holds, behind W&B's header: blocks of 32 KiB; CRC, length, kind, bytes."""
    found, place = [], 7
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if place % 32768 > 32768 - 7:  # the rest of a block is too short for a head
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        body = data[place + 7 : place + 7 + length]
        if kind in (1, 2):  # whole, or the first part
            found.append(body)
        else:
            found[-1] += body
        place += 7 + length
    return found


@pytest.mark.slow
def test_weights_and_biases_keeps_a_run_offline(tmp_path: Path) -> None:
    """In a process of its own: it starts a service, and hooks itself into the interpreter."""
    from wandb.proto import wandb_internal_pb2

    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, "-c", OFFLINE, str(tmp_path / "scan")], check=True, env=environment, timeout=120)
    (file,) = (tmp_path / "scan" / "wandb").glob("offline-run-*/*.wandb")
    rows, settings = [], {}
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            rows.append({key: value for key, value in items.items() if key in ("pictures", "pictures_per_s", "_step")})
        if record.WhichOneof("record_type") == "run":
            settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert rows == [{"pictures": 0, "_step": 0}, {"pictures": 16, "pictures_per_s": 32.5, "_step": 16}]
    assert settings["model"] == "tiny"


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("trackio", "trackio"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_one_line_that_names_the_extra(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(tp.TapetumError, match=rf"pip install 'tapetum\[{name}\]'"):
        open_logger(name, tmp_path, {})


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(tp.TapetumError, match="did you mean tensorboard"):
        open_logger("tensorbord", tmp_path, {})
    assert set(loggers.LOGGERS) == {"jsonl", "wandb", "trackio", "tensorboard"}
