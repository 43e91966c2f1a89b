"""Builds an atlas from a model and a data set in stages: scan, store, sheets of pictures, renderings, maps, pages."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tapetum import progress
from tapetum.atlas import sprites
from tapetum.atlas.about import SCORE, about, all_notes
from tapetum.atlas.activation_atlas import activation_atlas
from tapetum.atlas.checks import known_photographs
from tapetum.atlas.claims import SCHEMA, check_finished, map_in
from tapetum.atlas.export import check_site, export, pages_hash
from tapetum.atlas.layers import among, check_memory, chosen_layers, usual_map
from tapetum.atlas.map_pages import map_data
from tapetum.atlas.names import names_of_units
from tapetum.atlas.neighbors import NEIGHBORS, neighbors
from tapetum.atlas.numbers import LayerNumbers, fires, layer_numbers, pictures_of
from tapetum.atlas.stages import STORE, BuildStages, check_folder
from tapetum.atlas.store import Store
from tapetum.atlas.units import SIGNS, choose_layers, read_units, render_units
from tapetum.atlas.writing import Picture, write_store
from tapetum.border.subjects import as_model
from tapetum.data.streams import as_source
from tapetum.engines.scan import Job, Runner, Scanning
from tapetum.engines.scan.scan import key_of
from tapetum.engines.scan.trackers import Scores, Sparsity, Spectrum, Tracker
from tapetum.families.checking import Photographs
from tapetum.files import contents, inside
from tapetum.keeping.keyed import Kept, Key
from tapetum.keeping.locks import alone
from tapetum.keeping.places import removed, writable
from tapetum.keeping.provenance import versions
from tapetum.keeping.whole import write_whole
from tapetum.types import Cancelled, DamagedError, ModelLike, ScanResult, TapetumError, UnwritableError

EXAMPLES = 9
FIRES = 24
TRACKERS: tuple[Tracker, ...] = (Spectrum(k=EXAMPLES), Scores(), Sparsity())
NAMES = 2
"""Version of the naming of units: another one names the units of an earlier build again."""

LARGEST_HALF = 65_504
"""Largest number that float16 can hold."""


@dataclass(frozen=True, eq=False)
class Built:
    """Result of a build: the page to open, numbers of pictures and units, skipped pictures, and the stages of this run."""

    index: Path
    pictures: int
    units: int
    skipped: Mapping[str, str]
    done: tuple[str, ...]
    notes: tuple[str, ...] = ()


def build(
    model: ModelLike,
    source: Any,
    out: str | Path,
    *,
    layers: Sequence[str] | str | None = None,
    render: Literal["auto"] | Sequence[str] | None = "auto",
    minutes: float | int = 15,
    maps: Literal["auto"] | Sequence[str] | None = "auto",
    workers: int | None = None,
    run: Runner | None = None,
    resume: bool = True,
    limit: int | None = None,
    check: bool = True,
) -> Built:
    """Builds a microscope for a model: every unit of some layers with its spectrum over a data set, as a static site.

    The data set is scanned once; each unit keeps the pictures at four places of its spectrum, all scores and its neighbours.
    A build that was stopped or killed continues where it was. A folder of another model, data set or setting is refused.

    Args:
        layers: names or globs of layers; None: the output of every block.
        render: layers whose units are rendered; auto: those that fit into `minutes`, the middle one first; None: none.
        minutes: time limit for rendering, if `render` is auto.
        maps: layers with an activation atlas; auto: the last that still tells the parts of a picture apart; None: none.
        workers: threads; None: one per core.
        run: runner for the shards of the scan; None: threads.
        resume: go on where an earlier run stopped; else everything is made again.
        limit: number of pictures to use, from the start; None: all.
        check: tell of each rendered picture whether photographs drive its unit through the same channels; it takes about a
            seventh of the time of rendering, which `minutes` does not count.
    """
    network, stream, folder = as_model(model), as_source(source), Path(out)
    names = chosen_layers(network, layers)
    rendered = "auto" if render == "auto" else among(network, names, render, "rendered")
    mapped = [usual_map(network, names)] if maps == "auto" else among(network, names, maps, "mapped")
    check_folder(folder)
    check_site(folder / "site")
    how = Scanning(None if run else workers, run, folder / "scan", resume, limit)
    job = how.job(network, stream, dict.fromkeys(names, TRACKERS), pre_activation=True)
    check_memory(network, names, job.plan.count)
    with alone(folder):
        work = _Build(job, how, BuildStages(folder, resume=resume))
        work.look()
        work.pictures()
        work.pages()  # so that a build stopped during the renderings, which take longest, has pages
        work.render(rendered, minutes, workers, check)
        work.chart(mapped, workers, limit)
        work.pages()
        return work.built()


class _Build:
    """Stages of one build; a stage's key identifies everything that its files depend on."""

    def __init__(self, job: Job, how: Scanning, stages: BuildStages) -> None:
        self.job, self.how, self.stages = job, how, stages
        self.folder = stages.folder
        self.now: list[str] = []
        self.scan_key = key_of(job)
        self.store_key = _key(
            scan=self.scan_key.hash, examples=EXAMPLES, fires=FIRES, neighbors=NEIGHBORS, most=sprites.MOST, names=NAMES
        )

    @contextmanager
    def _stage(self, name: str, key: Key) -> Iterator[None]:
        with self.stages.stage(name, key), writable(self.folder):
            yield
        self.now.append(name)

    @contextmanager
    def _part(self, title: str, layer: str, refused: dict[str, str]) -> Iterator[None]:
        """Runs the work on one layer; if the layer is refused, leaves it out and records the reason in `refused`."""
        with progress.stage(title), writable(self.folder):
            try:
                yield
            except (Cancelled, UnwritableError):
                raise
            except TapetumError as error:
                refused[layer] = str(error)

    # --- the scan's results, into the store

    def look(self) -> None:
        """Scans the data set, compares the units, and writes the store; does nothing if that is done already."""
        if self.stages.is_done("store", self.store_key) and self._has_store():
            return
        with self._stage("scan", self.scan_key):
            result = self.how.scan(self.job)
        with self._stage("store", self.store_key):
            self._store(result)
            self.stages.tell(**about(self.job, result), **names_of_units(result, self.job.source.labels))

    def _has_store(self) -> bool:
        """Checks whether the store exists and is complete, and the manifest describes it."""
        with suppress(TapetumError):
            check_finished(self.stages.about, self.folder)
            Store(inside(self.folder, STORE)).close()
            return True
        return False

    def _store(self, result: ScanResult) -> None:
        stream = self.job.source
        scores = [found[1] for found in result.values()]
        samples = scores[0].samples.tolist()
        shown = pictures_of(result, samples, sprites.MOST)
        layers = layer_numbers(result, [self.job.model.survey[name] for name in result], shown, stream.labels)
        tables = [one.scores.numpy() for one in scores]
        self._keep_scores(tables, layers, samples)
        found = neighbors(tables)
        rows = np.searchsorted(samples, shown)
        named = [Picture(sample, stream.ids[sample], stream.labels[sample]) for sample in shown]
        meta = {"schema": str(SCHEMA), "scan": self.scan_key.hash, "score": SCORE}
        write_store(self.folder / STORE, layers, named, found, fires(tables, layers, rows, FIRES), meta)

    def _keep_scores(self, tables: Sequence[NDArray[np.float32]], layers: Sequence[LayerNumbers], samples: list[int]) -> None:
        """Saves each layer's scores (pictures, channels), as float16 where they fit, else as float32."""
        kept = Kept(self.folder / "embeddings", self.store_key)
        kept.write("samples.npy", _npy(np.asarray(samples, dtype=np.int64)))
        for table, layer in zip(tables, layers, strict=True):
            fits = bool(np.abs(table).max() <= LARGEST_HALF)
            kept.write(f"{layer.file}.npy", _npy(table.astype(np.float16) if fits else table))

    # --- pictures of units

    def render(self, wanted: Literal["auto"] | list[str], minutes: float | int, workers: int | None, check: bool) -> None:
        """Renders pictures for the units of some layers; keeps pictures that exist already."""
        model, names = self.job.model, list(self.job.trackers)
        chosen = self._chosen(minutes, workers) if wanted == "auto" else wanted
        refused: dict[str, str] = {}
        for layer in chosen:
            with self._part(f"rendering {layer}", layer, refused):
                known = self._photographs(layer) if check else None
                folder, resume = self.folder / "units", self.how.resume
                render_units(model, layer, folder=folder, workers=workers, resume=resume, photographs=known)
            self._tell_rendered(names, refused)
        self._tell_rendered(names, refused)

    def _photographs(self, layer: str) -> Photographs:
        """Returns the pictures of the data set, with the scores of a layer's units on them."""
        with Store(inside(self.folder, STORE)) as store:
            file = store.layer(layer)["file"]
        return known_photographs(self.job.model, self.job.source, layer, self.folder / "embeddings", file)

    def _tell_rendered(self, names: Sequence[str], refused: Mapping[str, str]) -> None:
        """Records in the manifest the layers whose pictures were rendered with the present weights."""
        weights, found = self.job.model.weights_sha256, {name: read_units(self.folder / "units", name) for name in names}
        same = {name: one.sprites for name, one in found.items() if one and one.settings.get("weights") == weights}
        rendered = {name: {sign: sprites.get(sign) for sign in SIGNS} for name, sprites in same.items()}
        checks = {name: one.checks for name, one in found.items() if one and name in same and one.checks}
        self.stages.tell(rendered=rendered, not_rendered=dict(refused), checks=checks)
        self.stages.save()

    def _chosen(self, minutes: float | int, workers: int | None) -> list[str]:
        """Returns the layers that can be rendered within the time limit; measured once, so that a resumed build agrees."""
        names = list(self.job.trackers)
        key = _key(weights=self.job.model.weights_sha256, layers=names, minutes=minutes)
        earlier = self.stages.about.get("chosen", {}).get("layers", [])
        if self.stages.is_done("choice", key) and earlier and set(earlier) <= set(names):
            return list(earlier)
        with self._stage("choice", key):
            choice = choose_layers(self.job.model, names, 60 * minutes, workers=workers)
            self.stages.tell(chosen={"layers": list(choice.layers), "said": choice.said})
        return list(choice.layers)

    # --- maps of layers

    def chart(self, layers: Sequence[str], workers: int | None, limit: int | None) -> None:
        """Makes an activation atlas of each layer; keeps finished ones."""
        job, refused = self.job, dict[str, str]()
        with Store(inside(self.folder, STORE)) as store:
            files = {row["name"]: row["file"] for row in store.layers()}
            numbers = {row["sample"]: row["id"] for row in store.pictures()}
        for layer in layers:
            place = Kept(self.folder / "maps" / files[layer], self.store_key).folder / "parts"
            settings: dict[str, Any] = {"limit": limit, "workers": workers, "out": place, "resume": self.how.resume}
            with self._part(f"map of {layer}", layer, refused):
                found = activation_atlas(job.model, job.source, layer, **settings)
                data = map_data(found, self.folder / "maps", numbers)
                text = json.dumps({"store": self.store_key.hash, **data})
                write_whole(self.folder / "maps" / f"{files[layer]}.json", text.encode())
        self._tell_maps(files, refused)

    def _tell_maps(self, files: Mapping[str, str], refused: Mapping[str, str]) -> None:
        with Store(inside(self.folder, STORE)) as store:
            pictures = store.count
        same = [name for name, file in files.items() if self._is_map(file, pictures)]
        keys = {name: _key(map=contents(inside(self.folder, "maps", f"{files[name]}.json")).decode()).hash for name in same}
        self.stages.tell(maps=keys, not_mapped=dict(refused))
        self.stages.save()

    def _is_map(self, file: str, pictures: int) -> bool:
        """Checks whether a layer's map exists, is complete, and was made from the scores in the store."""
        place = self.folder / "maps"
        with suppress(DamagedError):
            said = map_in(place, file, pictures)
            sheets = said["sprite"]["sheets"] if said["sprite"] else []
            return said["store"] == self.store_key.hash and all(inside(place, name).is_file() for name in sheets)
        return False

    # --- pictures and pages

    def pictures(self) -> None:
        """Writes sheets of the pictures as the model saw them; does nothing if they exist already."""
        key = _key(store=self.store_key.hash, tile=sprites.TILE_PX, quality=sprites.QUALITY)
        if self.stages.is_done("pictures", key):
            return
        with Store(inside(self.folder, STORE)) as store, self._stage("pictures", key):
            samples = [row["sample"] for row in store.pictures()]
            sprites.write_sprites(self.job.model, self.job.source, samples, self.folder / "pictures", key)

    def pages(self) -> None:
        """Writes the site if anything that it shows has changed, and the store too if it turns out to be damaged."""
        nothing: dict[str, Any] = {"rendered": {}, "not_rendered": {}, "checks": {}, "maps": {}, "not_mapped": {}}
        shown = nothing | {name: value for name, value in self.stages.about.items() if name not in ("made", "chosen")}
        key = _key(store=self.store_key.hash, pages=pages_hash(), shown=shown, tapetum=versions()["tapetum"])
        if self.stages.is_done("site", key) and (self.folder / "site" / "index.html").is_file():
            return
        try:
            with self._stage("site", key):
                export(self.folder)
        except DamagedError:
            if "store" in self.now:
                raise
            self.stages.forget("store", "pictures")
            removed(self.folder / "pictures")
            self.look()
            self.pictures()
            self.pages()

    def built(self) -> Built:
        facts = self.stages.about
        counts = facts["data"]["pictures"], sum(facts["units"].values())
        index = self.folder / "site" / "index.html"
        return Built(index, *counts, facts["skipped"], tuple(self.now), (*self.stages.notes, *all_notes(facts)))


def _key(**facts: Any) -> Key:
    return Key(facts, SCHEMA)


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
