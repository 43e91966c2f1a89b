"""Loggers for long work, all with the same small protocol: a file of JSON lines, W&B, Trackio, TensorBoard."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tapetum.loggers.base import Logger as Logger
from tapetum.loggers.base import Throughput as Throughput
from tapetum.loggers.base import closing as closing
from tapetum.loggers.jsonl import JSONLines as JSONLines
from tapetum.loggers.tensorboard import TensorBoard as TensorBoard
from tapetum.loggers.tracking import Trackio as Trackio
from tapetum.loggers.tracking import WeightsAndBiases as WeightsAndBiases
from tapetum.types import TapetumError

LOGGERS: Mapping[str, Callable[[Path, Mapping[str, Any]], Logger]] = {
    "jsonl": lambda folder, about: JSONLines(folder / "scan.jsonl"),
    "wandb": WeightsAndBiases,
    "trackio": Trackio,
    "tensorboard": lambda folder, about: TensorBoard(folder / "tensorboard"),
}
"""{name: function of (folder, about) that opens a logger}; a tracking site shows `about` as the run's settings."""


def open_logger(name: str, folder: Path, about: Mapping[str, Any]) -> Logger:
    """Opens the logger with this name; raises a `TapetumError` if there is none, or if its package is not installed."""
    if name not in LOGGERS:
        close = difflib.get_close_matches(name, LOGGERS, n=1)
        raise TapetumError(f"no logger '{name}'; {f'did you mean {close[0]}? ' if close else ''}there are {', '.join(LOGGERS)}")
    return LOGGERS[name](folder, about)
