"""Writes the store of an atlas: one SQLite file, which appears under its name only when complete."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum import progress
from tapetum.atlas.database import script
from tapetum.atlas.neighbors import Neighbors
from tapetum.atlas.numbers import FireTable, LayerNumbers
from tapetum.atlas.sheets import SHEET
from tapetum.files import shown
from tapetum.keeping.places import GOES_ON, writable
from tapetum.keeping.whole import whole_file
from tapetum.types import GROUPS, UnwritableError

TOP = 4
"""Number of strongest pictures on a unit's tile."""


@dataclass(frozen=True)
class Picture:
    """A picture of the atlas: its number and name in the data set, and its label."""

    sample: int
    name: str
    label: str | None


def write_store(
    path: Path,
    layers: Sequence[LayerNumbers],
    pictures: Sequence[Picture],
    neighbors: Neighbors | None,
    fires: FireTable | None,
    meta: Mapping[str, str],
) -> None:
    """Writes all rows into a new file under a temporary name, then renames it."""
    with _new(path) as database:
        database.execute("PRAGMA journal_mode = OFF")  # no other process reads the file before it has its name
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(script("schema.sql"))
        database.execute("BEGIN")
        _insert(database, "meta", meta.items())
        rows = ((i, one.sample, one.name, one.label, i // SHEET, i % SHEET) for i, one in enumerate(pictures))
        _insert(database, "pictures", rows)
        _write_layers(database, layers)
        if neighbors is not None:
            _insert(database, "neighbors", _neighbors(neighbors))
        if fires is not None:
            _insert(database, "fires", _fires(fires))
        database.execute("COMMIT")
        database.executescript(script("indices.sql"))
        database.execute("ANALYZE")


@contextmanager
def _new(path: Path) -> Generator[sqlite3.Connection]:
    """Yields a new database, which gets its name when the block ends; write errors become one-line messages."""
    try:
        with writable(path), whole_file(path) as part, closing(sqlite3.connect(part, isolation_level=None)) as database:
            yield database
    except sqlite3.OperationalError as error:  # a full disk, most of all
        raise UnwritableError(f"{shown(path)} cannot be written ({error}); {GOES_ON}") from error


def _write_layers(database: sqlite3.Connection, layers: Sequence[LayerNumbers]) -> None:
    first, total = 0, sum(layer.channels for layer in layers)
    for i, layer in enumerate(layers):
        progress.report(first, total, "units")
        about = (layer.kind, layer.channels, first, *layer.grid, layer.receptive_field, layer.stride)
        _insert(database, "layers", [(i, layer.name, layer.file, *about, int(layer.signed), layer.tap)])
        _insert(database, "units", _units(i, first, layer))
        _insert(database, "examples", _examples(first, layer))
        spans = ((edges.astype("<f4").tobytes(), counts.astype("<i4").tobytes()) for edges, counts in layer.histograms)
        _insert(database, "histograms", ((first + channel, *span) for channel, span in enumerate(spans)))
        first += layer.channels
    progress.report(total, total, "units")


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    rows = iter(rows)
    head = next(rows, None)
    if head is not None:
        marks = ", ".join("?" * len(head))
        database.execute(f"INSERT INTO {table} VALUES ({marks})", head)
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _units(number: int, first: int, layer: LayerNumbers) -> Iterator[tuple[Any, ...]]:
    top = layer.examples["maximum"].picture[:, :TOP].tolist()
    columns = (layer.mean, layer.sd, layer.sparsity, layer.minimum, layer.maximum, layer.threshold)
    numbers = np.stack([np.asarray(column, dtype=np.float64) for column in columns], 1).tolist()
    for channel in range(layer.channels):
        around = "median" if layer.median[channel] else "zero"
        strongest = json.dumps([one for one in top[channel] if one >= 0], separators=(",", ":"))
        label = layer.labels[channel] or (None, None, None)
        yield first + channel, number, channel, *numbers[channel], around, strongest, *label


def _examples(first: int, layer: LayerNumbers) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of a layer's examples, sorted by unit, part of the spectrum, and rank."""
    groups = [layer.examples[group] for group in GROUPS]
    parts = [(one.picture.tolist(), one.score.tolist(), one.place.tolist()) for one in groups]
    columns = layer.grid[1]
    for channel in range(layer.channels):
        for part, (pictures, scores, places) in enumerate(parts):
            rows = zip(pictures[channel], scores[channel], places[channel], strict=True)
            for i, (picture, score, place) in enumerate(rows):
                if picture >= 0:
                    yield first + channel, part, i, picture, score, place // columns, place % columns


def _neighbors(found: Neighbors) -> Iterator[tuple[Any, ...]]:
    sides = ((found.unit, found.correlation), (found.opposite, found.opposite_correlation))
    for unit in range(len(found.unit)):
        for opposite, (others, values) in enumerate(sides):
            for place, (other, value) in enumerate(zip(others[unit].tolist(), values[unit].tolist(), strict=True)):
                if other >= 0:
                    yield unit, opposite, place, other, value


def _fires(found: FireTable) -> Iterator[tuple[Any, ...]]:
    columns = (found.unit.tolist(), found.score.tolist(), found.z.tolist(), found.percentile.tolist())
    for picture, rows in enumerate(zip(*columns, strict=True)):
        for place, (unit, score, z, percentile) in enumerate(zip(*rows, strict=True)):
            if unit >= 0:
                yield picture, place, unit, score, z, percentile
