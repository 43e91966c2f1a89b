"""Networks of the studio: which names may be asked for, and which of them are loaded.

Names come from the command line, or are those of the zoo: a client can choose among them and nothing else, since a name such
as "file.py:factory" would run code. Jobs share a network: each thread looks into it through a replica of its own.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.loading import known_models, loaded
from tapetum.studios.refusals import NotAllowed
from tapetum.types import TapetumError

MOST = 4
"""Largest number of networks that are held at a time; the one that was not used for longest goes first."""
LOOK_S = 0.1
"""Seconds between two looks whether work that waits for a network was stopped. One network is loaded at a time: random weights
are drawn from torch's generator, which all threads share."""
USUAL = "efficientnet_lite0"
WEIGHTS = ("default", "random")
YOURS = "yours"


@dataclass(frozen=True)
class Given:
    """A network beside those of the zoo.

    load    loads it
    python  expression that loads it in Python, or None for an object that only the running Python has
    words   options of the command line that name it, or None
    """

    load: Callable[[], VisionModel]
    python: str | None = None
    words: tuple[str, ...] | None = None


class Networks:
    """Loads networks when they are asked for.

    given  {name: network} beside those of the zoo, such as a file named on the command line
    """

    def __init__(self, given: Mapping[str, Given]) -> None:
        self._given = dict(given)
        self._models: OrderedDict[tuple[str, str], VisionModel] = OrderedDict()
        self._loading: dict[tuple[str, str], threading.Lock] = {}
        self._lock, self._loads = threading.Lock(), threading.Lock()
        self.groups = self._groups()
        self._names = set(itertools.chain.from_iterable(self.groups.values()))

    def _groups(self) -> dict[str, list[str]]:
        zoo = known_models()
        torchvision = [name for group, names in zoo.items() if group not in ("built in", "timm") for name in names]
        own = {YOURS: list(self._given)} if self._given else {}
        return {**own, "built in": zoo["built in"], "torchvision": torchvision, "timm": zoo["timm"]}

    @property
    def first(self) -> str:
        return next(iter(self._given), USUAL)

    def model(self, name: str, weights: str = "default", check: Callable[[], object] = lambda: None) -> VisionModel:
        """Returns a network; loads it if it is not there. `check` is called while others load, and may raise."""
        self.check(name, weights)
        key = name, weights
        with self._lock:
            alone = self._loading.setdefault(key, threading.Lock())
        with _held(alone, check):
            if (found := self.there(name, weights)) is not None:
                return found
            with _held(self._loads, check):
                model = self._given[name].load() if name in self._given else loaded(name, weights, {})
            with self._lock:
                self._models[key] = model
                while len(self._models) > MOST:
                    self._models.popitem(last=False)
            return model

    def check(self, name: str, weights: str) -> None:
        """Refuses names and weights that cannot be chosen."""
        if name not in self._names:
            raise NotAllowed("no network of that name here; api/about lists those that can be chosen")
        if weights not in WEIGHTS or (name in self._given and weights != "default"):
            raise NotAllowed("weights are default or random; networks that were given to the studio come with their own")

    def source(self, name: str, weights: str) -> Given:
        """Returns how a network is named in Python and on the command line."""
        if name in self._given:
            return self._given[name]
        more = "" if weights == "default" else f", weights={weights!r}"
        model = () if name == USUAL else ("--model", name)
        words = model if weights == "default" else (*model, "--weights", weights)
        return Given(lambda: loaded(name, weights, {}), f"tp.load({name!r}{more})", words)

    def there(self, name: str, weights: str) -> VisionModel | None:
        """Returns a network if it is loaded."""
        with self._lock:
            if (name, weights) in self._models:
                self._models.move_to_end((name, weights))
            return self._models.get((name, weights))


@contextmanager
def _held(lock: threading.Lock, check: Callable[[], object]) -> Iterator[None]:
    """Holds a lock inside the block; looks while waiting for it whether the work was stopped."""
    while not lock.acquire(timeout=LOOK_S):
        check()
    try:
        yield
    finally:
        lock.release()


def facts_of(name: str, weights: str, model: VisionModel) -> dict[str, Any]:
    """Returns what the page shows of a network: its size, classes and layers."""
    layers = [
        {
            "name": one.name, "kind": one.kind, "channels": one.units, "grid": one.grid, "field": one.receptive_field,
            "stride": one.stride, "parameters": one.parameters,
        }
        for one in _rows(model)
    ]  # fmt: skip
    return {
        "name": name,
        "title": model.name,
        "weights": weights,
        "size": list(model.size),
        "classes": None if model.labels is None else len(model.labels),
        "labels": None if model.labels is None else list(model.labels),
        "preprocessing": model.preprocessing.describe(),
        "layers": layers,
        "usual": _usual(model),
        "notes": list(model.notes),
    }


def _rows(model: VisionModel) -> Any:
    try:
        return model.layers()
    except TapetumError:  # a network without modules of its own: it has an answer, and no layers
        return ()


def _usual(model: VisionModel) -> list[str]:
    try:
        return depths(model)
    except TapetumError:
        return []
