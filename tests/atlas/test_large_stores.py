"""200,000 units in one file: every page of it in a few milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest

from tapetum.atlas.neighbors import Neighbors
from tapetum.atlas.numbers import ExampleTable, FireTable, LayerNumbers
from tapetum.atlas.store import Store
from tapetum.atlas.writing import Picture, write_store
from tapetum.types import GROUPS

LAYERS, CHANNELS, PICTURES = 20, 10_000, 2000


def made_layer(number: int) -> LayerNumbers:
    """Numbers of a layer's units, drawn."""
    draw = np.random.default_rng(number)
    c = CHANNELS
    columns = {name: draw.normal(size=c) for name in ("mean", "minimum", "maximum", "threshold")}
    examples = {
        group: ExampleTable(draw.integers(0, PICTURES, (c, 9)), draw.normal(size=(c, 9)), draw.integers(0, 196, (c, 9)))
        for group in GROUPS
    }
    label = [(f"class {int(i)}", 4, 9) if i < 1000 else None for i in draw.integers(0, 2000, c)]
    histogram = (np.linspace(0, 1, 33), np.arange(32))
    return LayerNumbers(
        name=f"layer{number}", file=f"layer{number}", kind="Block", grid=(14, 14), receptive_field=123, stride=16, tap="output",
        sd=draw.random(c), sparsity=draw.random(c), signed=True, median=draw.random(c) > 0.5, examples=examples,
        histograms=[histogram] * c, labels=label, **columns,
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    file = tmp_path_factory.mktemp("large") / "atlas.sqlite"
    draw, units = np.random.default_rng(0), LAYERS * CHANNELS
    others = draw.integers(0, units, (units, 16))
    values = draw.random((units, 16)).astype(np.float32)
    fires = FireTable(*(draw.random((PICTURES, 24)) if i else draw.integers(0, units, (PICTURES, 24)) for i in range(4)))
    pictures = [Picture(i, f"class {i % 1000}/{i:05d}.jpg", f"class {i % 1000}") for i in range(PICTURES)]
    layers = [made_layer(i) for i in range(LAYERS)]
    write_store(file, layers, pictures, Neighbors(others, values, others, -values), fires, {"schema": "1"})
    return Store(file)


def median_ms(ask: Callable[[int], object], times: int = 40) -> float:
    seconds = []
    for i in range(times):
        begun = time.perf_counter()
        ask(i)
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds)


QUESTIONS: dict[str, tuple[Callable[[Store, int], object], float]] = {
    "a unit's page": (lambda store, i: store.unit(f"layer{i % LAYERS}:{(i * 7919) % CHANNELS}"), 10),
    "a file of 64 units": (lambda store, i: store.details(64 * i * 37, 64 * i * 37 + 64), 100),  # only the export asks
    "a page of tiles": (lambda store, i: store.tiles(f"layer{i % LAYERS}", first=i * 200), 10),
    "tiles by sparsity": (lambda store, i: store.tiles(f"layer{i % LAYERS}", "sparsity", descending=True, first=i * 10), 10),
    "the deepest page by sd": (lambda store, i: store.tiles(f"layer{i % LAYERS}", "sd", first=CHANNELS - 200), 10),
    "what fires on a picture": (lambda store, i: store.fires(i, i + 1), 10),
    "a unit by name": (lambda store, i: store.search(f"layer3:{i}"), 10),
    "units by statistic": (lambda store, i: store.search(f"sparsity > 0.{900 + i}", layer="layer7"), 10),
    "units by label": (lambda store, i: store.search(f"class {500 + i}"), 100),  # looks through all distinct labels
    "units by statistic, all layers": (lambda store, i: store.search(f"sd > 0.{900 + i}"), 100),
}
"""With what it may take, in ms: ten for pages. Measured on two busy cores: 0.1 to 1.1 for these."""


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_pages_of_200_000_units_come_in_milliseconds(store: Store, name: str) -> None:
    ask, bound = QUESTIONS[name]
    took = median_ms(lambda i: ask(store, i))
    print(f"{name}: {took:.2f} ms")
    assert took < bound


@pytest.mark.slow
def test_the_store_is_one_file(store: Store) -> None:
    assert [path.name for path in store.path.parent.iterdir()] == ["atlas.sqlite"]
    assert store.rows("PRAGMA journal_mode")[0][0] == "delete"
    assert store.rows("PRAGMA integrity_check(1)")[0][0] == "ok"
    assert store.rows("SELECT count(*) FROM units")[0][0] == 200_000
