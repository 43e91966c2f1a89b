"""Results with their provenance, which is sufficient to reproduce them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tapetum.types.results import Result, saved


@saved
@dataclass(frozen=True)
class Provenance:
    """Everything needed to reproduce a result: method, parameters, model, images, versions, time and duration.

    weights   of the model: "default", "random", or their file
    settings  further settings of the model: class names, size, constants, outputs, further inputs
    subject   units as texts, or the images' files; empty where the images were no files
    files     {file: sha256} of every file that was read: images, weights of a generator, ...
    lost      parameters that were objects without a text, or images that were no files: this record cannot repeat the run
    machine   processor and threads, which can change the last bits
    """

    method: str
    parameters: Mapping[str, Any]
    target: tuple[str, ...]
    model: str
    weights_sha256: str
    images_sha256: str
    seed: int | None
    device: str
    dtype: str
    versions: Mapping[str, str]
    started: str
    seconds: float
    weights: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    subject: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    lost: tuple[str, ...] = ()
    machine: str = ""


@dataclass(frozen=True, eq=False)
class Run(Result):
    """A result and its provenance."""

    value: Any
    provenance: Provenance

    def __str__(self) -> str:
        p = self.provenance
        return f"{p.method} of {p.model}, seed {p.seed}, {p.device}, {p.started}, {p.seconds:.1f} s\n{self.value}"
