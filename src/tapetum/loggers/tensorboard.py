"""Logger that writes event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapetum.loggers.base import package


class TensorBoard:
    """Logger that writes scalars to a folder for `tensorboard --logdir`; a resumed run adds a file to the folder."""

    def __init__(self, folder: str | Path) -> None:
        package("tensorboard", "tensorboard")
        self.writer = package("torch.utils.tensorboard", "tensorboard").SummaryWriter(log_dir=str(folder))

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
