"""Reads rows of a data set by number: directly from a table, by reading onwards from a stream."""

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
_MARK_EVERY = 128  # rows between two states to which a stream can return


class DatasetRows:
    """Rows of a Dataset, which are memory-mapped files."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset.with_format(None)

    def row(self, sample: int) -> dict[str, Any]:
        """One row, its picture as a file."""
        try:
            return self._dataset[sample]
        except Exception as error:  # any error of Arrow's parser
            raise TapetumError(f"row {sample} cannot be read ({shown(error)}); the data set is damaged") from error

    def values(self, column: str, number: int) -> list[Any]:
        """Returns the first `number` values of a column."""
        return list(self._dataset[column][:number])


class Stream:
    """Rows of an IterableDataset by number: read onwards and cached; marked states allow going back.

    Threads share one stream: a request for a later row also reads the rows before it, for the others.
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
        """Moves to the row, or to the last mark before it. Reads a copy, since reading changes a data set's state."""
        start = max((mark for mark in self._marks if mark <= sample), default=0)
        live = _copied(self._dataset)
        if start:
            live.load_state_dict(copy.deepcopy(self._marks[start]))  # reading changes the loaded state
        self._live, self._rows, self._next = live, iter(live), start

    def row(self, sample: int) -> dict[str, Any]:
        """One row, its picture as a file; an `ImageError` beyond the end of the stream."""
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
        except Exception as error:  # from the network or a parser: not this picture's fault, so it is not skipped
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
        """Counts the rows, up to the limit, and remembers the column's values."""
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
        except Exception as error:  # any error of the network or a parser
            raise TapetumError(f"the stream broke at picture {done} ({shown(error)}); is its file damaged?") from error
        if done % 1000 == 0:
            report(done, limit or done, "pictures counted")
        yield row
        done += 1


def _copied(dataset: Any) -> Any:
    """Copies a data set, which has a state of its own, but not the shared cache of the hub's file systems."""
    try:
        from huggingface_hub import HfFileSystem
    except ImportError:
        return copy.deepcopy(dataset)
    cache = HfFileSystem._cache
    return copy.deepcopy(dataset, {id(cache): cache})
