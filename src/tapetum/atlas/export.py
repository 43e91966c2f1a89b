"""Writes the static site of an atlas: pages and data in a folder that opens as a file or from any web host.

Data files are scripts, `atlas(KEY, VALUE)`, since a page opened from file:// cannot fetch data. All links are relative.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum import progress
from tapetum.atlas.about import all_notes
from tapetum.atlas.checks import by_unit
from tapetum.atlas.circuits import circuits_in
from tapetum.atlas.claims import check_finished, map_in
from tapetum.atlas.names import CAPTION, by_channel, frequent
from tapetum.atlas.sheets import COLUMNS, ROWS, Sprite
from tapetum.atlas.sprites import TILE_PX, sheet_names
from tapetum.atlas.stages import STORE, check_name, read_manifest
from tapetum.atlas.store import Store
from tapetum.atlas.units import SIGNS
from tapetum.files import contents, inside, opened, shown
from tapetum.keeping.places import writable
from tapetum.keeping.whole import whole_folder
from tapetum.reports.machine import nan_as_null
from tapetum.types import DamagedError, TapetumError

SCHEMA = 1
PAGES = Path(__file__).with_name("site")
UNITS = 64
"""Number of units per data file."""
PICTURES = 256
"""Number of pictures per data file."""
SKIPPED = 100
"""Largest number of skipped pictures that the site names."""

MOST_BYTES = 64_000_000
"""Largest size in bytes of a sheet; a sheet of noise has about three million."""
INDEX = b'atlas("index",'
"""First bytes of data/index.js, which every page reads first and by which a site is recognised."""

DIGITS = 5
"""Significant digits of numbers in data files; the pages show three or four."""


def export(folder: str | Path, out: str | Path | None = None, *, circuits: str | Path | None = None) -> Path:
    """Writes the site of a built atlas into its folder `site`, or into `out`: a new or empty folder, or an earlier site's.

    The folder appears only when complete. Returns the path of index.html.

    Args:
        circuits: folder with pages of circuits, as `circuit.write` and `tapetum circuit` make them; those of the atlas's units
            are copied into the site, and the unit's page links to them.
    """
    source, manifest = Path(folder), read_manifest(folder)
    check_finished(manifest, folder)
    target = source / "site" if out is None else Path(out)
    check_site(target)
    if not (PAGES / "atlas.js").is_file():
        raise TapetumError("the atlas's pages are not installed (tapetum/atlas/site); install tapetum again")
    with Store(inside(source, STORE)) as store:
        site = _SiteData(source, store, manifest)
        site.check()
        if circuits is not None:
            site.circuits = circuits_in(circuits, {layer["name"] for layer in site.layers})
        with writable(target), whole_folder(target, replaces=True) as work:
            for file in PAGES.iterdir():
                shutil.copyfile(file, work / file.name)
            site.write(work)
            for problem in broken(work):
                raise TapetumError(f"the site is not whole: {problem}")
    return target / "index.html"


def check_site(target: Path) -> None:
    """Refuses a folder that holds anything but an earlier site, since it will be replaced."""
    check_name(target)
    with writable(target):
        if target.exists() and not target.is_dir():
            raise TapetumError(f"{shown(target)} is a file; give a folder for the site")
        there = target.rglob("*") if target.is_dir() else iter(())
        stranger = next((path for path in there if not _is_of_a_site(path, target)), None)
        if stranger or (target.is_dir() and any(target.iterdir()) and not _is_index(target / "data" / "index.js")):
            which = f" ({shown(stranger.relative_to(target))})" if stranger else ""
            raise TapetumError(f"{shown(target)} holds other files{which}; give a new or an empty folder")


def _is_index(file: Path) -> bool:
    with contextlib.suppress(DamagedError), opened(inside(file.parent.parent, file.parent.name, file.name)) as there:
        return there.read(len(INDEX)) == INDEX
    return False


def _is_of_a_site(path: Path, site: Path) -> bool:
    """Checks whether a path inside a site's folder is one that an atlas's site can have."""
    first, *rest = path.relative_to(site).parts
    if path.name in BROWSED:
        return True
    if first in ENDS:
        return path.suffix == ENDS[first] if rest and not path.is_dir() else path.is_dir()
    return not rest and path.name in {file.name for file in PAGES.iterdir()}


ENDS = {"data": ".js", "pictures": ".webp", "units": ".webp", "maps": ".webp", "circuits": ".html"}
"""{folder of a site: ending of its files}."""

BROWSED = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Names of files that operating systems add to folders that are opened."""


class _SiteData:
    """Collects the data of the pages from the store and the pictures beside it, and writes them."""

    def __init__(self, source: Path, store: Store, manifest: Mapping[str, Any]) -> None:
        self.source, self.store, self.manifest, self.work = source, store, manifest, Path()
        self.mapped, self.rendered = manifest.get("maps", {}), manifest.get("rendered", {})
        self.named, self.checks = manifest.get("names", {}), manifest.get("checks", {})
        self.layers = store.layers()
        self.pictures = store.pictures()
        self.labels = any(row["label"] is not None for row in self.pictures)
        self.copies: dict[str, Path] = {}
        self.circuits: dict[str, Path] = {}

    def check(self) -> None:
        """Lists the picture files to copy into the site; refuses missing files, and links that lead elsewhere."""
        for layer in self.layers:
            for sign in SIGNS:
                self._take("units", self._sprite(layer["name"], sign))
            if layer["name"] in self.mapped:
                self._take("maps", map_in(inside(self.source, "maps"), layer["file"], len(self.pictures))["sprite"])
        self._take("pictures", {"sheets": sheet_names(len(self.pictures))})

    def _take(self, part: str, sprite: Mapping[str, Any] | None) -> None:
        for name in sprite["sheets"] if sprite else ():
            path = inside(self.source, part, name)
            with opened(path) as file:
                if file.seek(0, 2) > MOST_BYTES:
                    raise DamagedError(f"{shown(path)} is damaged: a sheet of more than {MOST_BYTES // 10**6} MB")
            self.copies[f"{part}/{name}"] = path

    def write(self, work: Path) -> None:
        self.work = work
        for name, path in self.copies.items():
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents(path, MOST_BYTES))
        total = sum(layer["channels"] for layer in self.layers)
        done = 0
        for layer in self.layers:
            progress.report(done, total, "units")
            self._layer(layer)
            if layer["name"] in self.mapped:
                self._map(layer["file"])
            done += layer["channels"]
        self._pictures()
        self._give("index", self._index())
        progress.report(total, total, "units")

    def _give(self, key: str, value: Any, name: str | None = None) -> None:
        path = self.work / "data" / f"{name or key}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"atlas({json.dumps(key)},{json_text(value)});\n", "ascii")

    # --- parts

    def _index(self) -> dict[str, Any]:
        about, count = self.manifest, len(self.pictures)
        skipped = list(about["skipped"].items())
        sheets = [f"pictures/{name}" for name in sheet_names(count)]
        return {
            "schema": SCHEMA,
            **{name: about[name] for name in ("title", "model", "made", "versions", "score")},
            "data": {**about["data"], "skipped": skipped[:SKIPPED], "skipped_count": len(skipped), "labels": self.labels},
            "notes": all_notes(about),
            "names": frequent(self.named),
            "named": CAPTION if self.named else None,
            "layers": [self._about(layer) for layer in self.layers],
            "pictures": {"count": count, "chunk": PICTURES, **Sprite(tile=TILE_PX, columns=COLUMNS, rows=ROWS, sheets=sheets)},
            "served": False,
        }

    def _about(self, layer: Any) -> dict[str, Any]:
        return {
            **{name: layer[name] for name in ("name", "file", "kind", "channels", "receptive_field", "stride", "tap")},
            "grid": [layer["grid_rows"], layer["grid_columns"]],
            "signed": bool(layer["signed"]),
            "unit_chunk": UNITS,
            "map": layer["name"] in self.mapped,
            "rendered": [sign for sign in SIGNS if self._sprite(layer["name"], sign)],
        }

    def _layer(self, layer: Any) -> None:
        file, rows = layer["file"], self.store.columns(layer["id"])
        sprites = {sign: _within("units", self._sprite(layer["name"], sign)) for sign in SIGNS}
        columns: dict[str, Any] = {key: [row[key] for row in rows] for key in ("mean", "sd", "sparsity", "minimum", "maximum")}
        columns["non_negative"] = [int(row["minimum"] >= 0) for row in rows]
        columns["top"] = [self.store.top(row) for row in rows]
        columns["labels"] = [_label(row) for row in rows] if self.labels else None
        columns["names"] = by_channel(self.named.get(layer["name"]), layer["channels"])
        columns["named"] = self.named.get(layer["name"], {}).get("said")
        checks = self.checks.get(layer["name"])
        columns["checked"] = checks["said"] if checks else None
        columns["flagged"] = [unit for unit, _, flagged in checks["units"] if flagged] if checks else []
        columns["sprites"] = sprites if any(sprites.values()) else None
        self._give(f"layer:{file}", columns, f"layers/{file}")
        of_pictures = by_unit(checks)
        for chunk, start in enumerate(range(0, layer["channels"], UNITS)):
            stop = min(start + UNITS, layer["channels"])
            units = self.store.details(layer["first"] + start, layer["first"] + stop)
            for unit in units:  # three digits: a correlation over a few hundred pictures is no more precise
                for side in ("neighbors", "opposite"):
                    unit[side] = [[other, channel, round(r, 3)] for other, channel, r in unit[side]]
                if unit["channel"] in of_pictures:
                    unit["check"] = of_pictures[unit["channel"]]
                if (page := self.circuits.get(f"{layer['name']}:{unit['channel']}")) is not None:
                    unit["circuit"] = self._circuit(page, f"{file}-{unit['channel']}.html")
            self._give(f"units:{file}:{chunk}", units, f"units/{file}-{chunk:03d}")

    def _circuit(self, page: Path, name: str) -> str:
        (self.work / "circuits").mkdir(exist_ok=True)
        shutil.copyfile(page, self.work / "circuits" / name)
        return f"circuits/{name}"

    def _sprite(self, layer: str, sign: str) -> dict[str, Any] | None:
        return self.rendered.get(layer, {}).get(sign)

    def _map(self, file: str) -> None:
        data = map_in(inside(self.source, "maps"), file, len(self.pictures))
        del data["store"]
        self._give(f"map:{file}", {**data, "sprite": _within("maps", data["sprite"])}, f"maps/{file}")

    def _pictures(self) -> None:
        labels = [row["label"] for row in self.pictures] if self.labels else None
        self._give("ids", {"ids": [row["name"] for row in self.pictures], "labels": labels})
        for chunk, start in enumerate(range(0, len(self.pictures), PICTURES)):
            stop = min(start + PICTURES, len(self.pictures))
            fires = [
                [[layer, channel, score, round(z, 2), round(percentile, 1)] for layer, channel, score, z, percentile in of_one]
                for of_one in self.store.fires(start, stop)
            ]
            self._give(f"pictures:{chunk}", {"fires": fires}, f"pictures/{chunk:03d}")


def _within(part: str, sprite: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns a sprite with the paths of its sheets relative to the site's folder."""
    return None if sprite is None else {**sprite, "sheets": [f"{part}/{name}" for name in sprite["sheets"]]}


def _label(row: Any) -> str | None:
    return None if row["label"] is None else f"{row['label']} {row['label_count']}/{row['label_of']}"


def json_text(value: Any) -> str:
    """Returns a value as ASCII JSON, whatever the page's encoding: numbers with five significant digits, null if not finite."""
    return json.dumps(nan_as_null(value, _short), separators=(",", ":"), allow_nan=False)


def _short(value: float) -> float | int:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def broken(site: Path) -> list[str]:
    """Returns descriptions of data files and sheets that a site refers to but that are missing or lie outside its folder."""
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
    """Returns the value that a data file of the site (a call with JSON) holds."""
    text = path.read_text("ascii")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def pages_hash() -> str:
    whole = hashlib.sha256()
    for file in sorted(PAGES.iterdir()):
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()
