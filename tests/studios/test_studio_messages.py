"""Requests that travel as messages are answered as those over HTTP are, and end with the page."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ME, STREAM, Client, until

from tapetum.studios import messages
from tapetum.studios.app import application
from tapetum.studios.guarding import JSON_BYTES, Guard
from tapetum.studios.messages import AHEAD, MOST_AT_ONCE, Exchanges
from tapetum.studios.pictures import MOST_BYTES
from tapetum.studios.serve import Server, studio
from tapetum.types import TapetumError

LONG = {
    "model": "tiny",
    "method": "visualize",
    "units": ["3:5"],
    "parameters": {"n_steps": 2048, "size": 64},
    "pictures_every_s": 0.05,
}


class Page:
    """Does what the page does: asks, hears pieces, says that it got them."""

    def __init__(self, server: Server, **given: Any) -> None:
        self.told: dict[str, queue.Queue[tuple[dict[str, Any], bytes]]] = {}
        self.exchanges = Exchanges(application(server.studio, Guard(frozenset())), self._hear, **given)

    def _hear(self, message: dict[str, Any], piece: bytes) -> None:
        self.told[message["id"]].put((message, piece))

    def say(self, name: str, do: str, **more: Any) -> None:
        self.exchanges.hear({"id": name, "do": do, **more})

    def ask(self, method: str, path: str, body: Any = b"", pieces: int = 1, **headers: str) -> str:
        name = str(len(self.told))
        self.told[name] = queue.Queue()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        heads = {"X-Tapetum-Client": ME, "Content-Length": str(len(data)), **headers}
        size = max(1, -(-len(data) // pieces))
        for at in range(0, max(1, len(data)), size):
            asked = {"do": "body"} if at else {"do": "ask", "method": method, "path": path, "headers": heads}
            self.exchanges.hear({"id": name, **asked, "more": at + size < len(data)}, data[at : at + size])
        return name

    def pieces(self, name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        while True:
            message, piece = self.told[name].get(timeout=60)
            yield message, piece
            if not message["more"]:
                return
            self.say(name, "got")

    def answer(self, *asked: Any, **more: Any) -> tuple[int, bytes]:
        told = list(self.pieces(self.ask(*asked, **more)))
        assert ["status" in message for message, _ in told] == [True] + [False] * (len(told) - 1)
        return told[0][0]["status"], b"".join(piece for _, piece in told)


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    one = Page(server)
    yield one
    one.exchanges.close()


def test_answers_are_those_over_http(page: Page, client: Client) -> None:
    sample = client.sample()
    for path in ("", "studio.js", "api/methods", f"api/pictures/{sample}?side=64", "api/nothing", "../pyproject.toml"):
        there = client.http.get(path)
        assert page.answer("GET", path) == (there.status_code, there.content)
    asked = {"model": "tiny", "method": "predict", "pictures": [sample]}
    status, body = page.answer("POST", "api/run", asked)
    assert (status, json.loads(body)["value"]) == (200, client.run(**asked)["value"])


def test_a_picture_in_pieces_is_the_picture(page: Page, client: Client) -> None:
    data = client.http.get(f"api/pictures/{client.sample()}").content
    status, body = page.answer("POST", "api/pictures?name=cup.webp", data, pieces=7)
    assert status == 200
    assert json.loads(body)["id"] == client.http.post("api/pictures?name=cup.webp", content=data).json()["id"]


def test_too_large_is_refused_as_over_http(page: Page) -> None:
    assert page.answer("POST", "api/run", {"method": "x" * JSON_BYTES}, pieces=3)[0] == 413
    status, body = page.answer("POST", "api/pictures", bytes(MOST_BYTES + 1), pieces=50)
    assert (status, json.loads(body)["kind"]) == (413, "TooLarge")


def test_events_come_while_the_work_goes_on_and_it_stops_with_the_page(page: Page, server: Server) -> None:
    name, seen = page.ask("POST", "api/run", LONG, **STREAM), 0
    for _, piece in page.pieces(name):
        seen += piece.startswith(b"event: picture")
        if seen == 3:
            break
    assert len(server.studio.jobs) == 1
    page.say(name, "gone")
    until(lambda: len(server.studio.jobs) == 0 and len(page.exchanges) == 0, 5)


def test_a_page_that_gives_no_sign_has_gone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than AHEAD pieces wait for it, and its work stops, but only once it could have been heard."""
    monkeypatch.setattr(messages, "QUIET_S", 0.3)
    calls: list[Callable[[], object]] = []
    page = Page(server, when_free=calls.append)
    name = page.ask("POST", "api/run", LONG, **STREAM)
    until(lambda: len(calls) == 1)  # silent, but it may have said something to a thread that computes
    time.sleep(1)
    assert (len(server.studio.jobs), page.told[name].qsize()) == (1, AHEAD)
    page.say(name, "got")  # it had
    calls.pop()()
    until(lambda: len(calls) == 1)
    assert page.told[name].qsize() == AHEAD + 1
    calls.pop()()
    until(lambda: len(server.studio.jobs) == 0 and len(page.exchanges) == 0, 5)
    page.exchanges.close()


def test_what_is_no_request_is_refused_or_left_alone(page: Page) -> None:
    for message in ({}, {"id": 3, "do": "ask"}, {"id": "x", "do": "body"}, {"id": "x"}, {"id": "x", "do": []}):
        page.exchanges.hear(message)
    page.told["bad"] = queue.Queue()
    page.say("bad", "ask", method="TRACE", path="api/about", headers={})
    message, piece = page.told["bad"].get(timeout=10)
    assert (message["status"], message["more"], json.loads(piece)["kind"]) == (429, False, "Busy")
    assert page.answer("GET", "api/about")[0] == 200


def test_requests_at_a_time_are_limited(page: Page) -> None:
    waiting: list[str] = []
    for _ in range(MOST_AT_ONCE):  # their bodies never end
        waiting.append(name := f"half {len(waiting)}")
        page.told[name] = queue.Queue()
        page.say(name, "ask", method="POST", path="api/pictures", headers={}, more=True)
    assert page.answer("GET", "api/about")[0] == 429
    for name in waiting:
        page.say(name, "gone")
    until(lambda: len(page.exchanges) == 0)
    assert page.answer("GET", "api/about")[0] == 200


def test_closing_ends_the_work_and_the_thread(server: Server) -> None:
    page = Page(server)
    name = page.ask("POST", "api/run", LONG, **STREAM)
    next(page.pieces(name))
    assert len(server.studio.jobs) == 1
    page.exchanges.close()
    page.exchanges.close()
    until(lambda: len(server.studio.jobs) == 0, 5)
    assert "tapetum-studio-messages" not in {thread.name for thread in threading.enumerate()}
    page.say(name, "got")  # too late, and harmless


def test_a_port_is_opened_when_the_address_is_asked_for(server: Server) -> None:
    with Server({}, listen=False) as one:
        assert (repr(one), one._socket) == ("Studio", None)
        client = Client(one)
        with client.http:
            assert client.about()["version"]
        assert repr(one) == f"Studio at {one.address}"


def test_without_a_notebook_the_page_is_a_frame_that_says_what_shows_it_elsewhere() -> None:
    with studio() as one:
        shown = one._repr_mimebundle_()
        assert "<iframe" in shown["text/html"]
        assert 'pip install "tapetum[notebook]"' in shown["text/html"]
        with pytest.raises(TapetumError, match="the explorer is for notebooks with anywidget"):
            _ = one.explorer
