"""Reads the store of an atlas: units, pages of tiles, searches, and the units that fire on a picture, in milliseconds each."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.atlas.claims import MANIFEST, manifest_in
from tapetum.atlas.database import Database
from tapetum.files import is_plain, parsed, shown
from tapetum.types import GROUPS, DamagedError, LayerError, TapetumError
from tapetum.types.unit_names import share_of, words_of

SORTS = ("channel", "mean", "sd", "sparsity", "minimum", "maximum")
"""Columns by which a layer's units can be sorted."""

STATISTIC = re.compile(
    r"(mean|sd|sparsity|minimum|maximum|min|max)\s*(<=|>=|<|>|=)\s*(-?\d+(?:\.\d*)?(?:e-?\d+)?)", re.IGNORECASE
)
ALIASES = {"min": "minimum", "max": "maximum"}

FILES_END = "-positive-0000.webp"
"""Longest ending of a file name that begins with a layer's `file` name."""


class Store:
    """An atlas.sqlite, open for reading by several threads at once; refuses a file whose parts do not fit together."""

    def __init__(self, path: str | Path) -> None:
        if not os.path.isfile(path):
            raise TapetumError(f"{shown(path)}: no such store; `tapetum atlas build` makes one")
        self.path = Path(path)
        self.database = Database(path)
        try:
            self._layers = self._checked_layers()
            self._by_name = {row["name"]: row for row in self._layers}
            self.count = self._counted("pictures")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Returns the rows of a query, with columns by name."""
        return self.database.rows(sql, parameters)

    def _checked_layers(self) -> list[sqlite3.Row]:
        """Returns the layers in the network's order; refuses them unless their units are consecutive and complete."""
        found, first = self.rows("SELECT * FROM layers ORDER BY id"), 0
        for i, row in enumerate(found):
            if (row["id"], row["first"]) != (i, first) or not row["channels"] or not row["grid_rows"] * row["grid_columns"]:
                raise self.database.damaged(f"layer {i} does not follow the one before it")
            if not is_plain(row["file"]) or not is_plain(row["file"] + FILES_END):
                raise self.database.damaged(f"{row['file']!r} in it is no plain name of a file")
            first += row["channels"]
        if len({row["file"] for row in found}) < len(found) or self._counted("units") != first:
            raise self.database.damaged(f"it has not the {first:,} units of its layers")
        return found

    def _counted(self, table: str) -> int:
        """Returns the number of rows of a table; refuses ids that do not count from 0."""
        row = self.rows(f"SELECT COUNT(*), MIN(id), MAX(id) FROM {table}")[0]
        if tuple(row) not in ((row[0], 0, row[0] - 1), (0, None, None)):
            raise self.database.damaged(f"its {table} are not numbered from 0")
        return row[0]

    # --- layers and units

    def meta(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self.rows("SELECT key, value FROM meta")}

    def layers(self) -> list[sqlite3.Row]:
        """Returns the rows of all layers, in the network's order."""
        return list(self._layers)

    def layer(self, name: str) -> sqlite3.Row:
        if name not in self._by_name:
            names = ", ".join(row["name"] for row in self._layers)
            raise LayerError(f"no layer '{name}' in this atlas; there are {names}")
        return self._by_name[name]

    def unit_number(self, name: str) -> int:
        """Returns the number of a unit in the store, given its name, such as "blocks.3.0:5"."""
        layer_name, _, channel = name.rpartition(":")
        if not layer_name or not re.fullmatch(r"\d{1,9}", channel):
            raise TapetumError(f"'{name}' names no unit; write layer:channel, such as blocks.3.0:5")
        layer = self.layer(layer_name)
        if int(channel) >= layer["channels"]:
            raise TapetumError(f"{layer_name} has channels 0 to {layer['channels'] - 1}, not {channel}")
        return layer["first"] + int(channel)

    # --- pages

    def unit(self, name: str) -> dict[str, Any]:
        """Returns everything about one unit, given its name: statistics, spectrum, histogram, neighbours."""
        number = self.unit_number(name)
        columns = "mean, sd, sparsity, minimum, maximum, label, label_count, label_of"
        statistics = dict(self.rows(f"SELECT {columns} FROM units WHERE id = ?", (number,))[0])
        return {"unit": name, **statistics, **self.details(number, number + 1)[0]}

    def details(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Returns units `start` to `stop` - 1 as their pages show them: spectrum, histogram, neighbours."""
        between = (start, stop - 1)
        found: dict[int, dict[str, Any]] = {}
        for row in self.rows("SELECT id, channel, around, threshold FROM units WHERE id BETWEEN ? AND ? ORDER BY id", between):
            empty: dict[str, Any] = {"spectrum": {group: [] for group in GROUPS}, "neighbors": [], "opposite": []}
            found[row["id"]] = {"channel": row["channel"], "around": row["around"], "threshold": row["threshold"], **empty}
        if list(found) != list(range(start, stop)):
            raise self.database.damaged("units are missing")
        for unit, part, *example in self._examples(between):
            found[unit]["spectrum"][GROUPS[part]].append(example)
        for row in self.rows("SELECT * FROM histograms WHERE unit BETWEEN ? AND ?", between):
            found[row["unit"]]["histogram"] = self._histogram(row)
        for unit, opposite, *other in self._neighbors(between):
            found[unit]["opposite" if opposite else "neighbors"].append(other)
        if any("histogram" not in unit for unit in found.values()):
            raise self.database.damaged("a histogram is missing")
        return list(found.values())

    def _histogram(self, row: sqlite3.Row) -> dict[str, list[Any]]:
        if len(row["edges"]) % 4 or len(row["edges"]) != len(row["counts"]) + 4:
            raise self.database.damaged("a histogram is cut off")
        edges, counts = np.frombuffer(row["edges"], "<f4"), np.frombuffer(row["counts"], "<i4")
        if not np.isfinite(edges).all() or (counts < 0).any():
            raise self.database.damaged("a histogram is none")
        return {"edges": edges.tolist(), "counts": counts.tolist()}

    def _examples(self, between: tuple[int, int]) -> list[sqlite3.Row]:
        columns = "unit, part, picture, score, grid_row, grid_column"
        found = self.rows(f"SELECT {columns} FROM examples WHERE unit BETWEEN ? AND ? ORDER BY unit, part, place", between)
        self._check_numbers("a unit's example", found, between[0], unit=between[1] + 1, part=4, picture=self.count)
        return found

    def _neighbors(self, between: tuple[int, int]) -> list[sqlite3.Row]:
        sql = """SELECT n.unit, n.opposite, u.layer, u.channel, n.correlation FROM neighbors n JOIN units u ON u.id = n.other
                 WHERE n.unit BETWEEN ? AND ? ORDER BY n.unit, n.opposite, n.place"""
        found = self.rows(sql, between)
        self._check_numbers("a unit's neighbor", found, between[0], unit=between[1] + 1, opposite=2)
        return self._placed(found)

    def _check_numbers(self, what: str, rows: list[sqlite3.Row], first: int, **below: int) -> None:
        """Refuses rows that were not requested (from a damaged index), and numbers of units or pictures that do not exist.

        what   the kind of row, for the message
        first  least value of the first column in `below`
        below  upper bound of each column, itself excluded
        """
        requested = next(iter(below))
        if any(row[requested] < first or any(row[name] >= end for name, end in below.items()) for row in rows):
            raise self.database.damaged(f"{what} is of what is not there")

    def _placed(self, rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
        """Returns the rows unchanged; refuses a `layer` or `channel` that does not exist."""
        channels = [row["channels"] for row in self._layers]
        if any(row["layer"] >= len(channels) or row["channel"] >= channels[row["layer"]] for row in rows):
            raise self.database.damaged("a unit is of no layer")
        return rows

    def tiles(
        self, layer: str, by: str = "channel", *, descending: bool = False, first: int = 0, count: int = 200
    ) -> list[sqlite3.Row]:
        """Returns a page of a layer's units, sorted by one of `SORTS`, each with statistics, label and strongest pictures."""
        if by not in SORTS:
            raise TapetumError(f"units are sorted by {', '.join(SORTS)}, not '{by}'")
        way = "DESC" if descending else "ASC"
        # the inner query reads only the index, so that rows of skipped units are never read
        which = f"SELECT id FROM units WHERE layer = ? ORDER BY {by} {way}, id {way} LIMIT ? OFFSET ?"
        sql = f"SELECT * FROM units WHERE id IN ({which}) ORDER BY {by} {way}, id {way}"
        return self._placed(self.rows(sql, (self.layer(layer)["id"], count, first)))

    def columns(self, layer: int) -> list[sqlite3.Row]:
        """Returns the rows of all units of a layer, by channel; refuses them unless they are complete."""
        found = self.rows("SELECT * FROM units WHERE layer = ? ORDER BY channel", (layer,))
        first, channels = self._layers[layer]["first"], self._layers[layer]["channels"]
        if [(row["id"], row["channel"]) for row in found] != [(first + i, i) for i in range(channels)]:
            raise self.database.damaged(f"the units of layer {layer} are not its channels")
        return found

    def top(self, row: sqlite3.Row) -> list[int]:
        """Returns the numbers of a unit's strongest pictures, from its row."""
        found = parsed(row["top"], shown(self.database.path))
        fits = isinstance(found, list) and all(type(one) is int and 0 <= one < self.count for one in found)
        if not fits:
            raise self.database.damaged("a unit's strongest pictures are none")
        return found

    def pictures(self, start: int = 0, stop: int | None = None) -> list[sqlite3.Row]:
        return self.rows(
            "SELECT * FROM pictures WHERE id >= ? AND id < ? ORDER BY id", (start, 1 << 62 if stop is None else stop)
        )

    def fires(self, start: int, stop: int) -> list[list[list[Any]]]:
        """Returns per picture [layer, channel, score, z, percentile] of the units with the most unusual scores."""
        found: list[list[list[Any]]] = [[] for _ in range(start, stop)]
        sql = """SELECT f.picture, u.layer, u.channel, f.score, f.z, f.percentile FROM fires f JOIN units u ON u.id = f.unit
                 WHERE f.picture BETWEEN ? AND ? ORDER BY f.picture, f.place"""
        rows = self.rows(sql, (start, stop - 1))
        self._check_numbers("what fires on a picture", rows, start, picture=stop)
        for picture, *fire in self._placed(rows):
            found[picture - start].append(fire)
        return found

    # --- searches

    def search(self, text: str, *, layer: str | None = None, limit: int = 50) -> dict[str, list[str]]:
        """Returns units, layers and pictures that match a text: "blocks.3.0:5", "blocks.3", "sparsity > 0.9", or words.

        Words find the units whose name, or commonest label of their strongest pictures, has the most of them or of their
        beginnings: the most accurate name first, then the most frequent label. Terms behind "AND NOT" do not count. Names are
        those of the manifest beside the store.
        """
        text = text.strip()
        statistic = STATISTIC.fullmatch(text)
        if statistic:
            return {"units": self._by_statistic(statistic, layer, limit), "layers": [], "pictures": []}
        like = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
        layers = self.rows("SELECT name FROM layers WHERE name LIKE ? ESCAPE '\\' ORDER BY id LIMIT ?", (like, limit))
        pictures = """SELECT name FROM pictures WHERE label LIKE :like ESCAPE '\\' OR name LIKE :like ESCAPE '\\'
                      ORDER BY id LIMIT :limit"""
        return {
            "units": self._by_text(text, layer, limit) if text else [],
            "layers": [row["name"] for row in layers],
            "pictures": [row["name"] for row in self.rows(pictures, {"like": like, "limit": limit})] if text else [],
        }

    def _by_statistic(self, found: re.Match[str], layer: str | None, limit: int) -> list[str]:
        name = ALIASES.get(found[1].lower(), found[1].lower())
        where, parameters = (" AND u.layer = :layer", self.layer(layer)["id"]) if layer else ("", None)
        way = "ASC" if found[2].startswith("<") else "DESC"
        sql = f"""SELECT l.name, u.channel FROM units u JOIN layers l ON l.id = u.layer
                  WHERE u.{name} {found[2]} :value{where} ORDER BY u.{name} {way}, u.id LIMIT :limit"""
        rows = self.rows(sql, {"value": float(found[3]), "layer": parameters, "limit": limit})
        return [f"{row['name']}:{row['channel']}" for row in rows]

    def _by_text(self, text: str, layer: str | None, limit: int) -> list[str]:
        try:
            self.unit_number(text)
        except TapetumError:
            return self._by_words(words_of(text), layer)[:limit]
        return [text]

    def _by_words(self, asked: set[str], layer: str | None) -> list[str]:
        """Returns the units that have the most of some words, as the site's search finds them."""
        within = self._layers if layer is None else [self.layer(layer)]
        found = [*self._named(asked, within), *self._labelled(asked, within)]
        most = max((share for share, *_ in found), default=0.0)
        numbers = dict.fromkeys(number for share, *_, number in sorted(found) if share == most > 0)
        return [self._unit_name(number) for number in numbers]

    def _named(self, asked: set[str], within: Sequence[sqlite3.Row]) -> list[tuple[float, float, int, int]]:
        """Returns (share of the words in its name, -AUC, 0, number) of the units that have a name."""
        several = [(row["first"], one) for row in within for one in self._names.get(row["name"], ())]
        shares = {name: share_of(asked, name) for name in {name for _, (_, name, *_) in several}}
        return [(shares[name], -auc, 0, first + channel) for first, (channel, name, auc, _) in several]

    def _labelled(self, asked: set[str], within: Sequence[sqlite3.Row]) -> list[tuple[float, float, int, int]]:
        """Returns (share of the words, 0, -pictures of the label, number) of the units whose label has the most of them."""
        # distinct labels: a few hundred, where there may be 200,000 units
        labels = [row["label"] for row in self.rows("SELECT DISTINCT label FROM units WHERE label IS NOT NULL")]
        shares = {label: share_of(asked, label) for label in labels}
        most = max(shares.values(), default=0.0)
        near = [label for label, share in shares.items() if share == most > 0]
        layers = [row["id"] for row in within]
        marks, places = (",".join("?" * len(one)) for one in (near, layers))
        rows = self.rows(
            f"SELECT id, label_count FROM units WHERE label IN ({marks}) AND layer IN ({places})", (*near, *layers)
        )
        return [(most, 0.0, -(row["label_count"] or 0), row["id"]) for row in rows]

    def _unit_name(self, number: int) -> str:
        row = next(row for row in reversed(self._layers) if row["first"] <= number)
        return f"{row['name']}:{number - row['first']}"

    @cached_property
    def _names(self) -> dict[str, list[list[Any]]]:
        """{layer: [channel, name, AUC, p] of its units that have a name}, from the manifest beside the store."""
        folder = self.path.parent
        said = manifest_in(folder).get("names", {}) if (folder / MANIFEST).is_file() else {}
        found = {name: one["units"] for name, one in said.items() if name in self._by_name}
        if any(channel >= self._by_name[name]["channels"] for name, units in found.items() for channel, *_ in units):
            raise DamagedError(f"{shown(folder / MANIFEST)} is damaged: it names units that the atlas does not have")
        return found
