"""The static site: pages and data in one folder that opens from a file or any web host, without a server.

Data files are scripts, `atlas(KEY, VALUE)`: a page from file:// may not fetch. All links are relative.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum import progress
from tapetum.atlas.about import all_notes
from tapetum.atlas.sprites import COLUMNS, ROWS, TILE_PX, sheet_names
from tapetum.atlas.stages import STORE, read_manifest, whole_folder
from tapetum.atlas.store import Store
from tapetum.atlas.units import SIGNS
from tapetum.types import TapetumError

SCHEMA = 1
PAGES = Path(__file__).with_name("site")
UNITS = 64
"""Units a data file."""
PICTURES = 256
"""Pictures a data file."""
SKIPPED = 100
"""Skipped pictures that are named."""

DIGITS = 5
"""Significant digits of a score: the page shows three or four."""


def export(folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes the site of a built atlas into DIR/site, or `out`: a new or empty folder, or one with an earlier site.

    The folder takes its name when it is whole; returns index.html.
    """
    source, manifest = Path(folder), read_manifest(folder)
    target = source / "site" if out is None else Path(out)
    _check(target)
    if not (PAGES / "atlas.js").is_file():
        raise TapetumError("the atlas's pages are not installed (tapetum/atlas/site); install tapetum again")
    target.parent.mkdir(parents=True, exist_ok=True)
    with Store(source / STORE) as store, whole_folder(target) as work:
        for file in PAGES.iterdir():
            shutil.copyfile(file, work / file.name)
        _Site(source, store, manifest, work).write()
        for problem in broken(work):
            raise TapetumError(f"the site is not whole: {problem}")
    return target / "index.html"


def _check(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not (target / "data" / "index.js").is_file():
        raise TapetumError(f"{target} holds other files; give a new or an empty folder")
    if target.exists() and not target.is_dir():
        raise TapetumError(f"{target} is a file; give a folder for the site")


class _Site:
    """The data of the pages, from the store and the pictures beside it."""

    def __init__(self, source: Path, store: Store, manifest: Mapping[str, Any], work: Path) -> None:
        self.source, self.store, self.manifest, self.work = source, store, manifest, work
        self.layers = store.layers()
        self.pictures = store.pictures()
        self.labels = any(row["label"] is not None for row in self.pictures)

    def write(self) -> None:
        total = sum(layer["channels"] for layer in self.layers)
        done = 0
        for layer in self.layers:
            progress.report(done, total, "units")
            self._layer(layer)
            if layer["name"] in self.manifest.get("maps", {}):
                self._map(layer["file"])
            done += layer["channels"]
        self._pictures()
        self._give("index", self._index())
        progress.report(total, total, "units")

    def _give(self, key: str, value: Any, name: str | None = None) -> None:
        path = self.work / "data" / f"{name or key}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"atlas({json.dumps(key)},{as_json(value)});\n", "ascii")

    def _copy(self, source: Path, name: str) -> str:
        target = self.work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return name

    # --- parts

    def _index(self) -> dict[str, Any]:
        about = self.manifest
        skipped = list(about["skipped"].items())
        return {
            "schema": SCHEMA,
            "title": about["title"],
            "model": about["model"],
            "data": {**about["data"], "skipped": skipped[:SKIPPED], "skipped_count": len(skipped), "labels": self.labels},
            "made": about["made"],
            "versions": about["versions"],
            "score": about["score"],
            "notes": all_notes(about),
            "layers": [self._about(layer) for layer in self.layers],
            "pictures": {
                "count": len(self.pictures),
                "chunk": PICTURES,
                **_sprite([f"pictures/{name}" for name in sheet_names(len(self.pictures))]),
            },
            "served": False,
        }

    def _about(self, layer: Any) -> dict[str, Any]:
        return {
            "name": layer["name"],
            "file": layer["file"],
            "kind": layer["kind"],
            "channels": layer["channels"],
            "grid": [layer["grid_rows"], layer["grid_columns"]],
            "receptive_field": layer["receptive_field"],
            "stride": layer["stride"],
            "signed": bool(layer["signed"]),
            "tap": layer["tap"],
            "unit_chunk": UNITS,
            "map": layer["name"] in self.manifest.get("maps", {}),
            "rendered": [sign for sign in SIGNS if self._sprite(layer["name"], sign)],
        }

    def _layer(self, layer: Any) -> None:
        file, rows = layer["file"], self.store.columns(layer["id"])
        sprites = {sign: self._rendered(layer["name"], sign) for sign in SIGNS}
        columns: dict[str, Any] = {
            name: [row[name] for row in rows] for name in ("mean", "sd", "sparsity", "minimum", "maximum")
        }
        columns["non_negative"] = [int(row["minimum"] >= 0) for row in rows]
        columns["top"] = [json.loads(row["top"]) for row in rows]
        columns["labels"] = [_label(row) for row in rows] if self.labels else None
        columns["sprites"] = sprites if any(sprites.values()) else None
        self._give(f"layer:{file}", columns, f"layers/{file}")
        for chunk, start in enumerate(range(0, layer["channels"], UNITS)):
            stop = min(start + UNITS, layer["channels"])
            units = self.store.details(layer["first"] + start, layer["first"] + stop)
            self._give(f"units:{file}:{chunk}", [_correlations(unit) for unit in units], f"units/{file}-{chunk:03d}")

    def _sprite(self, layer: str, sign: str) -> dict[str, Any] | None:
        return self.manifest.get("rendered", {}).get(layer, {}).get(sign)

    def _rendered(self, layer: str, sign: str) -> dict[str, Any] | None:
        sprite = self._sprite(layer, sign)
        if sprite is None:
            return None
        sheets = [self._copy(self.source / "units" / name, f"units/{name}") for name in sprite["sheets"]]
        return {**sprite, "sheets": sheets}

    def _map(self, file: str) -> None:
        data = json.loads((self.source / "maps" / f"{file}.json").read_text("utf-8"))
        data.pop("store")
        if data["sprite"] is not None:
            sheets = data["sprite"]["sheets"]
            data["sprite"]["sheets"] = [self._copy(self.source / "maps" / name, f"maps/{name}") for name in sheets]
        self._give(f"map:{file}", data, f"maps/{file}")

    def _pictures(self) -> None:
        labels = [row["label"] for row in self.pictures] if self.labels else None
        self._give("ids", {"ids": [row["name"] for row in self.pictures], "labels": labels})
        for name in sheet_names(len(self.pictures)):
            self._copy(self.source / "pictures" / name, f"pictures/{name}")
        for chunk, start in enumerate(range(0, len(self.pictures), PICTURES)):
            stop = min(start + PICTURES, len(self.pictures))
            fires = [[_fire(one) for one in some] for some in self.store.fires(start, stop)]
            self._give(f"pictures:{chunk}", {"fires": fires}, f"pictures/{chunk:03d}")


def _sprite(sheets: Sequence[str]) -> dict[str, Any]:
    return {"tile": TILE_PX, "columns": COLUMNS, "rows": ROWS, "sheets": list(sheets)}


def _label(row: Any) -> str | None:
    return None if row["label"] is None else f"{row['label']} {row['label_count']}/{row['label_of']}"


def _fire(fire: Sequence[Any]) -> list[Any]:
    layer, channel, score, z, percentile = fire
    return [layer, channel, score, round(z, 2), round(percentile, 1)]


def _correlations(unit: dict[str, Any]) -> dict[str, Any]:
    """Three digits of a correlation of some hundred pictures are more than it is sure of."""
    shorter = {side: [[layer, channel, round(r, 3)] for layer, channel, r in unit[side]] for side in ("neighbors", "opposite")}
    return {**unit, **shorter}


def as_json(value: Any) -> str:
    """JSON in ASCII, so that no encoding matters; five significant digits, null for what is not finite."""
    return json.dumps(_rounded(value), separators=(",", ":"), allow_nan=False)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def broken(site: Path) -> list[str]:
    """What keeps a site from being whole: data files and sheets that its data name and that are not there, or lie outside."""
    index = given(site / "data" / "index.js")
    named = ["index.html", "atlas.js", "atlas.css", "data/ids.js", *index["pictures"]["sheets"]]
    named += [f"data/pictures/{i:03d}.js" for i in range(-(-index["pictures"]["count"] // index["pictures"]["chunk"]))]
    for layer in index["layers"]:
        named += [f"data/units/{layer['file']}-{i:03d}.js" for i in range(-(-layer["channels"] // layer["unit_chunk"]))]
        named.append(f"data/layers/{layer['file']}.js")
        sprites = given(site / named[-1])["sprites"] or {}
        named += [sheet for sprite in sprites.values() if sprite for sheet in sprite["sheets"]]
        if layer["map"]:
            named.append(f"data/maps/{layer['file']}.js")
            named += (given(site / named[-1])["sprite"] or {"sheets": []})["sheets"]
    root = site.resolve()
    return [
        f"{name} is {'missing' if not (site / name).is_file() else 'outside of it'}"
        for name in named
        if not (site / name).is_file() or root not in (site / name).resolve().parents
    ]


def given(path: Path) -> Any:
    """The value of a data file."""
    text = path.read_text("ascii")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def pages_hash() -> str:
    """Of the pages' own files."""
    whole = hashlib.sha256()
    for file in sorted(PAGES.iterdir()):
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()
