"""Reads an atlas.sqlite that may come from anybody: read-only, and with checks of everything that it returns.

The schema must be exactly that of an atlas, so that no foreign view, trigger or virtual table runs. Values must have the types
and ranges of their columns, a query may return no more rows than the file has room for, and slow queries are stopped.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.files import opened, shown
from tapetum.types import DamagedError, TapetumError

LIMIT_S = 30.0
"""Longest time in seconds of a query; in an atlas of 200,000 units, queries take milliseconds."""

STEPS = 100_000
"""Number of SQLite's virtual machine instructions between two checks of the time."""

LONGEST = 1_000_000
"""Largest size in bytes of a text or a blob; names of files are the longest."""

AT_ONCE = 2_000
"""Number of rows that are fetched at once."""

TEXTS_ROOM = 16
"""Largest size in bytes of all texts and blobs that a query returns, in multiples of the file's size."""

LARGEST = 1 << 53
"""Upper bound of whole numbers; JavaScript holds numbers up to this exactly."""


class Database:
    """Runs queries on a file from several threads at once, each thread with its own connection."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with opened(self.path, TapetumError) as file:
            self.size = file.seek(0, 2)
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []

    def close(self) -> None:
        while self._open:
            self._open.pop().close()
        self._local = threading.local()

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Returns the rows of a query, with columns by name; refuses values that do not fit their columns."""
        try:
            found = self._fetched(self._connection(), sql, parameters)
        except sqlite3.OperationalError as error:
            slow = str(error) == "interrupted"
            raise self.damaged(f"a question took more than {LIMIT_S:g} s" if slow else error) from error
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise self.damaged(error) from error
        names = found[0].keys() if found else []
        for i, name in enumerate(names):
            if name in COLUMNS and not COLUMNS[name]([row[i] for row in found]):
                raise self.damaged(f"a {name} in it is none")
        return found

    def damaged(self, why: object) -> DamagedError:
        """Returns the error to raise for a damaged file."""
        return DamagedError(f"{shown(self.path)} is damaged ({shown(why)}); build the atlas again")

    def _fetched(self, connection: sqlite3.Connection, sql: str, parameters: Any) -> list[sqlite3.Row]:
        self._local.until = time.monotonic() + LIMIT_S
        cursor, found, texts = connection.execute(sql, parameters), list[sqlite3.Row](), 0
        while part := cursor.fetchmany(AT_ONCE):
            found += part
            texts += sum(len(one) for row in part for one in row if isinstance(one, (str, bytes)))
            if len(found) > AT_ONCE + self.size // 4 or texts > LONGEST + TEXTS_ROOM * self.size:
                raise self.damaged("it gives more than a file of its size holds")
        return found

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "connection", None) is None:
            address = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"  # immutable: a journal beside the file is ignored
            connection = sqlite3.connect(address, uri=True, check_same_thread=False)  # closed by another thread
            self._open.append(connection)
            connection.row_factory = sqlite3.Row
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            connection.set_progress_handler(self._is_late, STEPS)
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
                connection.execute(f"PRAGMA {pragma}")
            self._check_schema(connection)
            self._local.connection = connection
        return self._local.connection

    def _is_late(self) -> bool:
        return time.monotonic() > self._local.until

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        rows = self._fetched(connection, f"SELECT {MASTER} FROM sqlite_master LIMIT 1000", ())
        found = sorted((tuple(row) for row in rows if not _is_statistics(tuple(row))), key=str)
        if found != schema():
            raise self.damaged("its tables are not those of an atlas")


MASTER = "type, name, tbl_name, sql"


@functools.cache
def schema() -> list[tuple[Any, ...]]:
    """Returns the tables and indices of an atlas, as rows of SQLite's own list of them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        for name in ("schema.sql", "indices.sql"):
            database.executescript(script(name))
        return sorted(database.execute(f"SELECT {MASTER} FROM sqlite_master"), key=str)


def script(name: str) -> str:
    """Returns the text of schema.sql or indices.sql."""
    return Path(__file__).with_name(name).read_text("utf-8")


def _is_statistics(row: tuple[Any, ...]) -> bool:
    """Checks whether a table holds SQLite's own statistics, which ANALYZE writes."""
    kind, name, table, sql = row
    plain = kind == "table" and name == table and re.fullmatch(r"sqlite_stat[14]", str(name)) is not None
    return plain and re.fullmatch(rf"CREATE TABLE {name}\([a-z,]+\)", str(sql)) is not None


# --- types of columns


def _only(*kinds: type) -> Callable[[list[Any]], bool]:
    return lambda column: {type(one) for one in column} <= set(kinds)


def _whole(column: list[Any]) -> bool:
    return {type(one) for one in column} == {int} and min(column) >= 0 and max(column) < LARGEST


def _whole_or_none(column: list[Any]) -> bool:
    some = [one for one in column if one is not None]
    return not some or _whole(some)


COLUMNS: Mapping[str, Callable[[list[Any]], bool]] = {
    **dict.fromkeys(("key", "value", "name", "file", "kind", "tap", "top"), _only(str)),
    "label": _only(str, type(None)),
    "around": lambda column: set(column) <= {"zero", "median"},
    **dict.fromkeys(("id", "channels", "first", "grid_rows", "grid_columns", "layer", "channel", "unit", "part"), _whole),
    **dict.fromkeys(("place", "picture", "grid_row", "grid_column", "opposite", "other", "sample", "sheet", "tile"), _whole),
    **dict.fromkeys(("receptive_field", "stride", "label_count", "label_of"), _whole_or_none),
    "signed": lambda column: set(column) <= {0, 1},
    **dict.fromkeys(("mean", "sd", "sparsity", "minimum", "maximum", "threshold"), _only(float, type(None))),
    **dict.fromkeys(("score", "z", "correlation", "percentile"), _only(float)),
    **dict.fromkeys(("edges", "counts"), _only(bytes)),
}
"""{column: check of its values against its type in schema.sql}; SQLite itself does not enforce types."""
