"""Reads rows of a data set by number: directly from a table, or by reading a stream up to the row."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from tapetum.files import shown
from tapetum.progress import report
from tapetum.types import ImageError, TapetumError

_KEPT_BYTES = 256_000_000
_MARK_EVERY = 128  # a stream stores its state every so many rows, to return there later


class DatasetRows:
    """Rows by number of a Dataset, whose files are memory-mapped."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset.with_format(None)

    def row(self, sample: int) -> dict[str, Any]:
        """Returns one row, its picture as encoded bytes or a path."""
        try:
            return self._dataset[sample]
        except Exception as error:  # of any kind, from Arrow's parser
            raise TapetumError(f"row {sample} cannot be read ({shown(error)}); the data set is damaged") from error

    def values(self, column: str, number: int) -> list[Any]:
        """Returns the first `number` values of a column."""
        return list(self._dataset[column][:number])


class Stream:
    """Rows by number of an IterableDataset: it reads forward, caches rows, and goes back to stored states.

    Threads share one stream: a request for a later row also reads, and caches, the rows before it.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._values: dict[str, list[Any]] = {}
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {"dataset": self._dataset, "values": self._values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._dataset, self._values = state["dataset"], state["values"]
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[int, Any] = {}
        self._kept: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._kept_bytes = 0
        self._end: int | None = None
        self._go_to(0)

    def _go_to(self, sample: int) -> None:
        """Moves to the row `sample`, or to the last stored state before it; reads a copy, since reading changes the state."""
        start = max((mark for mark in self._marks if mark <= sample), default=0)
        live = _copied(self._dataset)
        if start:
            live.load_state_dict(copy.deepcopy(self._marks[start]))  # reading changes the loaded state
        self._live, self._rows, self._next = live, iter(live), start

    def row(self, sample: int) -> dict[str, Any]:
        """Returns one row, its picture as encoded bytes or a path; an `ImageError` beyond the end of the stream."""
        with self._lock:
            if self._end is not None and sample >= self._end:
                raise ImageError(f"the stream ends after {self._end} pictures; give limit={self._end}")
            if sample not in self._kept:
                if sample < self._next:
                    self._go_to(sample)
                while self._next <= sample:
                    self._step()
            return self._kept[sample]

    def _step(self) -> None:
        try:
            row = next(self._rows)
        except StopIteration:
            self._end = self._next
            raise ImageError(f"the stream ends after {self._end} pictures; give limit={self._end}") from None
        except Exception as error:  # the stream is broken, not this picture: it must not be skipped
            at = self._next
            self._go_to(at)
            raise TapetumError(f"the stream broke at picture {at} ({shown(error)}); start again to go on") from error
        self._keep(self._next, row)
        self._next += 1
        if self._next % _MARK_EVERY == 0 and self._next not in self._marks:
            self._marks[self._next] = self._live.state_dict()

    def _keep(self, sample: int, row: dict[str, Any]) -> None:
        self._kept_bytes += _weight(row) - (_weight(self._kept[sample]) if sample in self._kept else 0)
        self._kept[sample] = row
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= _weight(self._kept.popitem(last=False)[1])

    def counted(self, column: str, limit: int | None) -> int:
        """Counts the rows, up to `limit`, and stores the column's values."""
        self._values[column] = [row[column] for row in passed(self._dataset.select_columns([column]), limit)]
        return len(self._values[column])

    def values(self, column: str, number: int) -> list[Any]:
        """Returns the first `number` values of a column by a pass over the stream; None beyond its end."""
        with self._lock:
            if len(self._values.get(column, [])) < number:
                self.counted(column, number)
            values = self._values[column]
        return values[:number] + [None] * (number - len(values))


def _weight(row: dict[str, Any]) -> int:
    return 200 + sum(len(value.get("bytes") or b"") for value in row.values() if isinstance(value, dict))


def passed(dataset: Any, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yields the rows of a stream from its beginning, with progress reports."""
    rows, done = iter(_copied(dataset)), 0
    while limit is None or done < limit:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # of any kind, from the network or a parser
            raise TapetumError(f"the stream broke at picture {done} ({shown(error)}); is its file damaged?") from error
        if done % 1000 == 0:
            report(done, limit or done, "pictures counted")
        yield row
        done += 1


def _copied(dataset: Any) -> Any:
    """Copies a data set with its reading state, but shares the cache of the hub's file systems."""
    try:
        from huggingface_hub import HfFileSystem
    except ImportError:
        return copy.deepcopy(dataset)
    cache = HfFileSystem._cache
    return copy.deepcopy(dataset, {id(cache): cache})
