"""A studio that runs in this process, and a client that asks it over HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from tapetum.studios.networks import Given
from tapetum.studios.serve import Server

ME = "a" * 20
STREAM = {"Accept": "text/event-stream"}


class Client:
    """Asks one studio as one visitor."""

    def __init__(self, server: Server, name: str = ME, **headers: str) -> None:
        place = server.address.partition("#")[0]
        self.http = httpx.Client(base_url=place, headers={"X-Tapetum-Client": name, **headers}, timeout=300)

    def about(self) -> dict[str, Any]:
        return self.http.get("api/about").json()

    def sample(self, name: str = "coffee") -> str:
        return next(one["id"] for one in self.about()["samples"] if one["sample"] == name)

    def run(self, **asked: Any) -> dict[str, Any]:
        answer = self.http.post("api/run", json={"model": "tiny", **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refusal(self, **asked: Any) -> tuple[int, str]:
        answer = self.http.post("api/run", json={"model": "tiny", **asked})
        assert answer.status_code >= 400, answer.text[:200]
        return answer.status_code, answer.json()["message"]

    @contextmanager
    def events(self, **asked: Any) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
        with self.http.stream("POST", "api/run", json={"model": "tiny", **asked}, headers=STREAM) as answer:
            assert answer.status_code == 200, answer.read()
            yield _events(answer)


def _events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def values_of(one: dict[str, Any]) -> np.ndarray:
    """The numbers of a map, as the page reads them."""
    return np.frombuffer(base64.b64decode(one["data"]), "<f4").reshape(one["shape"])


@contextmanager
def a_studio(others: Mapping[str, Given] | None = None, **options: Any) -> Iterator[Server]:
    model = tiny()
    with Server({"tiny": Given(lambda: model), **(others or {})}, **options).start() as server:
        yield server


def until(true: Callable[[], object], within_s: float = 20) -> None:
    """Waits until something holds."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def tiny() -> Any:
    """A small network of four classes, with the weights of a seed."""
    import torch
    from torch import nn

    import tapetum as tp

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip
    return tp.wrap(net, size=(32, 32), labels=["ant", "bee", "cat", "dog"], name="tiny", mean=0.5, std=0.5)
