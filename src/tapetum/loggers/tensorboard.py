"""TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapetum.loggers.base import imported


class TensorBoard:
    """Scalars in a folder that `tensorboard --logdir` shows; a run that goes on adds a file to it."""

    def __init__(self, folder: str | Path) -> None:
        imported("tensorboard", "tensorboard")
        self.writer = imported("torch.utils.tensorboard", "tensorboard").SummaryWriter(log_dir=str(folder))

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """One scalar a name."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self.writer.close()
