"""Hostile and clumsy visitors are refused in plain words, and the studio goes on for all others."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import numpy as np
import psutil
import pytest
from asking import ME, Client, a_studio
from PIL import Image

from tapetum.studios import connections, guarding
from tapetum.studios.guarding import JSON_BYTES
from tapetum.studios.pictures import MOST_BYTES
from tapetum.studios.serve import Server
from tapetum.types import TapetumError

JSON = {"Content-Type": "application/json"}
SECRET = "s" * 32


def refused(answer: httpx.Response, status: int, words: str) -> None:
    """An answer is a refusal of one line, without a word about files or code of this computer."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/json"
    message = answer.json()["message"]
    assert words in message, message
    assert "\n" not in message
    assert "Traceback" not in message
    assert answer.json()["kind"]


def is_well(client: Client) -> None:
    assert client.run(method="predict", pictures=[client.sample()])["value"]["type"] == "predictions"


# --- pictures


def png(width: int, height: int, chunks: bytes = b"", rows: bytes | None = None, depth: int = 1, colour: int = 0) -> bytes:
    """A PNG file made by hand, whose header may promise anything."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = zlib.compress(bytes(height * (1 + (width + 7) // 8)) if rows is None else rows, 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


NO_PICTURES = {
    "bomb": (png(60_000, 60_000, rows=bytes(1000)), "million pixels"),
    "bomb that is there": (png(30_000, 20_000), "million pixels"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "an SVG drawing"),
    "page": (b"<!doctype html><script>alert(1)</script>", "a web page"),
    "script": (b"alert(document.domain)//", "text, not an image"),
    "truncated": (saved(photo(size=(400, 300)), "PNG")[:9000], "cut off or damaged"),
    "truncated jpeg": (saved(photo(size=(400, 300)), "JPEG")[:9000], "cut off or damaged"),
    "empty": (b"", "empty"),
    "array": (b"\x93NUMPY\x01\x00" + bytes(100), "an array, not a picture"),
    "pickle": (b"\x80\x04\x95" + bytes(40), "not an image"),
    "zip": (b"PK\x03\x04" + bytes(100), "a zip archive"),
    "no size": (png(0, 0, rows=b""), "not an image"),
    "long side": (png(200_000, 1), "pixels"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "text, not an image"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture_is_refused(client: Client, name: str) -> None:
    data, words = NO_PICTURES[name]
    began = time.monotonic()
    answer = client.http.post("api/pictures?name=x.png", content=data)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert answer.json()["message"].startswith("x.png: ")
    assert time.monotonic() - began < 5
    is_well(client)


POLYGLOTS = {
    "gif that is a script": saved(photo("P"), "GIF").replace(b"GIF89a", b"GIF89a", 1) + b"*/=1;alert(1)//",
    "jpeg with a page": saved(photo(), "JPEG", comment=b"<html><script>alert(1)</script></html>")
    + b"<script>alert(1)</script>",
    "png with a script after it": saved(photo(), "PNG") + b"<script>alert(1)</script>",
}


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_picture_that_is_a_page_too_comes_back_encoded_anew(client: Client, name: str) -> None:
    sent = client.http.post("api/pictures", params={"name": "x.html"}, content=POLYGLOTS[name]).json()
    for path, kind in (
        (f"api/pictures/{sent['id']}", "image/webp"),
        (f"api/pictures/{sent['id']}/seen?model=tiny", "image/png"),
    ):
        answer = client.http.get(path)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert b"script" not in answer.content
        assert b"alert" not in answer.content
        assert Image.open(io.BytesIO(answer.content)).format == kind.rpartition("/")[2].upper()
    assert "alert" not in json.dumps(sent)


KINDS = {
    "cmyk": saved(photo("CMYK"), "JPEG"),
    "16 bits": saved(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
    "animated": saved(photo("P"), "GIF", save_all=True, append_images=[photo("P").rotate(90)] * 20),
    "see-through": saved(photo("RGBA"), "PNG"),
    "black and white": saved(photo("1"), "PNG"),
    "much exif": saved(photo(), "JPEG", exif=b"Exif\x00\x00MM\x00*" + bytes(60_000)),
    "one pixel": saved(photo(size=(1, 1)), "PNG"),
    "very long": saved(photo(size=(5000, 2)), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_pictures_are_pictures(client: Client, kind: str) -> None:
    sent = client.http.post("api/pictures", content=KINDS[kind])
    assert sent.status_code == 200, sent.text
    value = client.run(method="predict", pictures=[sent.json()["id"]])["value"]
    assert all(0 <= row["probability"] <= 1 for row in value["rows"][0])


NAMES = [
    "../../etc/passwd",
    "C:\\Windows\\x.png",
    "\\\\host\\share\\x.png",
    "a\0b\x1b[31m\r\n\u202e.png",
    "n" * 10_000,
    "",
    " ",
    "-rf",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_words_and_no_paths(client: Client, name: str) -> None:
    """A name is shown, and written into code that a person may run: it is one printable line, quoted there."""
    data = saved(photo(size=(20 + len(name) % 50, 20)), "PNG")
    sent = client.http.post("api/pictures", params={"name": name}, content=data)
    assert sent.status_code == 200, sent.text
    kept = sent.json()["name"]
    assert kept.isprintable()
    assert len(kept) <= 160
    assert not set(kept) & {"/", "\0", "\n"}
    code = client.run(method="saliency", pictures=[sent.json()["id"]], model="efficientnet_lite0")["code"]
    assert repr(kept) in code["python"]
    compile(code["python"], "code", "exec")
    assert " -rf" not in code["command"]


def test_what_one_visitor_sends_changes_nothing_for_another(server: Server) -> None:
    """The same picture under another name, and many more: neither the name nor the picture of the first is lost."""
    first, second = Client(server, "first" * 5), Client(server, "second" * 5)
    data = saved(photo(size=(60, 60)), "PNG")
    with first.http, second.http:
        mine = first.http.post("api/pictures?name=mine.png", content=data).json()["id"]
        asked = {"method": "saliency", "pictures": [mine], "model": "efficientnet_lite0"}
        assert second.http.get(f"api/pictures/{mine}").status_code == 404
        assert second.refusal(method="predict", pictures=[mine])[0] == 404
        second.http.post("api/pictures?name=theirs.png", content=data)
        for i in range(70):
            second.http.post("api/pictures", content=saved(photo(size=(9 + i, 8)), "PNG"))
        assert "'theirs.png'" not in first.run(**asked)["code"]["python"]
        assert "'mine.png'" in first.run(**asked)["code"]["python"]
        assert first.http.get(f"api/pictures/{mine}").status_code == 200
        assert second.http.get(f"api/pictures/{mine}").status_code == 404  # the oldest of the second, which sent too many


# --- bodies


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while Raw.opened:
        Raw.opened.pop().socket.close()


class Raw:
    """A connection on which anything can be said."""

    opened: ClassVar[list[Raw]] = []

    def __init__(self, server: Server) -> None:
        self.server, self.socket = server, socket.create_connection((server.host, server.port), timeout=20)
        self.opened.append(self)

    def say(self, text: str, body: bytes = b"") -> Raw:
        self.socket.sendall(
            text.replace("\n", "\r\n").replace("HOST", f"{self.server.host}:{self.server.port}").encode() + body
        )
        return self

    def heard(self, enough: int = 1) -> bytes:
        data = b""
        while len(data) < enough and (part := self.socket.recv(65536)):
            data += part
        return data

    def is_closed(self, within_s: float) -> bool:
        self.socket.settimeout(within_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def vanish(self) -> None:
        """Closes abruptly, as a process that is killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def question(
    body: dict[str, Any], path: str = "api/run", more: str = "", accept: str = "text/event-stream"
) -> tuple[str, bytes]:
    data = json.dumps(body).encode()
    head = (
        f"POST /{path} HTTP/1.1\nHost: HOST\nX-Tapetum-Client: {ME}\nContent-Type: application/json\nAccept: {accept}\n{more}"
    )
    return f"{head}Content-Length: {len(data)}\n\n", data


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(server: Server, client: Client) -> None:
    for path, kind, most in (
        ("api/pictures", "application/octet-stream", MOST_BYTES),
        ("api/run", "application/json", JSON_BYTES),
    ):
        raw = Raw(server).say(f"POST /{path} HTTP/1.1\nHost: HOST\nContent-Type: {kind}\nContent-Length: 200000000\n\n")
        answer = raw.heard(200)
        assert b" 413 " in answer
        while b"at most %g MB" % (most / 1e6) not in answer:
            answer += raw.heard()
    is_well(client)


@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize(
    ("path", "kind", "size", "words"),
    [
        ("api/pictures", "application/octet-stream", 32_000_000, b"at most 30 MB"),
        ("api/run", "application/json", 3_000_000, b"at most 0.1 MB"),
        ("api/run", "text/plain", 90_000, b"sent as application/json"),
    ],
)
def test_who_sends_a_whole_refused_body_is_told_why(
    server: Server, path: str, kind: str, size: int, words: bytes, turn: int
) -> None:
    """As a browser does: closed at once, the connection would be reset, and the reason lost on its way."""
    raw = Raw(server)
    raw.say(f"POST /{path} HTTP/1.1\nHost: HOST\nContent-Type: {kind}\nContent-Length: {size}\n\n", bytes(size))
    time.sleep(0.05 * turn)
    answer = raw.heard(100)
    while words not in answer:
        more = raw.heard()
        assert more, answer
        answer += more


@pytest.mark.parametrize("chunked", [False, True])
def test_two_hundred_megabytes_are_not_kept(server: Server, chunked: bool) -> None:
    """What is held is at most what a picture may have, and once more while its parts are joined: 60 MB."""
    process, most = psutil.Process(), 0
    before = process.memory_info().rss
    head = "Transfer-Encoding: chunked" if chunked else "Content-Length: 200000000"
    raw = Raw(server).say(f"POST /api/pictures HTTP/1.1\nHost: HOST\n{head}\n\n")
    part = b"f4240\r\n" + bytes(1_000_000) + b"\r\n" if chunked else bytes(1_000_000)
    for _ in range(200):
        raw.say("", part)
        most = max(most, process.memory_info().rss - before)
    assert b" 413 " in raw.heard(100)
    assert most < 2 * MOST_BYTES + 10_000_000, most


def test_who_never_ends_a_refused_body_is_cut_off(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ASK_S", 0.5)
    raw = Raw(server).say("POST /api/run HTTP/1.1\nHost: HOST\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n")

    def go_on() -> None:
        for _ in range(200):
            raw.say("3e8\n", bytes(1000) + b"\r\n")
            time.sleep(0.02)

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        go_on()
    is_well(client)


def test_a_body_that_turns_out_too_large_is_refused_and_not_kept(server: Server, client: Client) -> None:
    def parts(size: int) -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(size)

    refused(client.http.post("api/pictures", content=parts(1_000_000)), 413, "30 MB")
    refused(client.http.post("api/run", content=parts(1000), headers=JSON), 413, "0.1 MB")
    is_well(client)


def test_a_slow_body_is_not_waited_for(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "JSON_S", 0.5)
    monkeypatch.setattr(guarding, "PICTURE_S", 0.5)
    for path in ("api/run", "api/pictures"):
        raw = Raw(server).say(f"POST /{path} HTTP/1.1\nHost: HOST\nContent-Type: application/json\nContent-Length: 100\n\n{{")
        answer = raw.heard(150)
        assert b" 408 " in answer
        assert b"did not arrive within" in answer + raw.heard()
    is_well(client)


def test_connections_without_a_question_are_closed(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ASK_S", 0.5)
    silent, slow, after = Raw(server), Raw(server).say("GET / HTTP/1.1\nHost: "), Raw(server)
    after.say("GET /api/about HTTP/1.1\nHost: HOST\n\n").heard()
    assert all(one.is_closed(4) for one in (silent, slow, after))
    is_well(client)


def test_several_questions_on_one_connection_are_answered(server: Server) -> None:
    raw = Raw(server).say("GET /api/about HTTP/1.1\nHost: HOST\n\nGET /nothing HTTP/1.1\nHost: HOST\nConnection: close\n\n")
    whole = b""
    while part := raw.socket.recv(65536):
        whole += part
    assert whole.count(b"HTTP/1.1 200 ") == 1
    assert whole.count(b"HTTP/1.1 404 ") == 1


def test_three_hundred_connections_leave_the_studio_well(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ASK_S", 1)
    some = [Raw(server) for _ in range(300)]
    answers = []
    for raw in some[::10]:
        raw.say("GET /api/methods HTTP/1.1\nHost: HOST\n\n")
        answers.append(raw.heard(12)[9:12])
    assert set(answers) <= {b"200", b"503", b""}  # nothing: on a busy machine a connection may have been idle for too long
    assert all(raw.is_closed(20) for raw in some)
    is_well(client)


# --- questions


SAME = '"model":"tiny","method":"visualize","units":["3:5"]'
MALFORMED = {
    "nothing": b"", "half": b'{"model":', "no text": b"\xff\xfe{}", "deep": b"[" * 90_000, "deep objects": b'{"a":' * 9000,
    "a list": b"[]", "a number": b"1e999", "long number": b'{%s,"parameters":{"n_steps":1%s}}' % (SAME.encode(), b"0" * 5000),
    "large number": b'{%s,"parameters":{"n_steps":1%s}}' % (SAME.encode(), b"0" * 400),
    "nan": b'{%s,"parameters":{"n_steps":NaN}}' % SAME.encode(),
    "infinite": b'{%s,"parameters":{"n_steps":Infinity}}' % SAME.encode(),
    "infinite seconds": b'{%s,"pictures_every_s":Infinity}' % SAME.encode(),
    "nan seconds": b'{%s,"pictures_every_s":NaN}' % SAME.encode(),
    "half a character": b'{"model":"tiny","method":"\\ud800"}',
    "half a character as a name": b'{%s,"parameters":{"\\ud800":1}}' % SAME.encode(),
    "two methods": b'{"model":"tiny","method":"predict","method":["predict"]}',
    "unknown": b'{%s,"generator":1}' % SAME.encode(),
    "true as a number": b'{%s,"parameters":{"n_steps":true}}' % SAME.encode(),
    "list as a value": b'{%s,"parameters":{"n_steps":[1]}}' % SAME.encode(),
    "object as a value": b'{%s,"parameters":{"n_steps":{"picture":1}}}' % SAME.encode(),
    "many parameters": b'{%s,"parameters":{%s}}' % (SAME.encode(), ",".join(f'"p{i}":1' for i in range(99)).encode()),
    "seed": b'{%s,"parameters":{"seed":1%s}}' % (SAME.encode(), b"0" * 30),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_questions_are_refused(client: Client, name: str) -> None:
    answer = client.http.post("api/run", content=MALFORMED[name], headers=JSON)
    assert answer.status_code in (400, 422), answer.text[:300]
    assert len(answer.json()["message"]) < 500
    assert answer.json()["kind"] != "Failure"
    is_well(client)


@pytest.mark.parametrize(
    "value", [100_000, "100000", "4_096x4_096", "+9000x+9000", "9000 x 10", "٩٠٠٠x٩٠٠٠", 513.0, -600, "10,9000"]
)
def test_sizes_have_a_limit_however_they_are_written(client: Client, value: Any) -> None:
    status, message = client.refusal(method="visualize", units=["3:5"], parameters={"size": value, "n_steps": 1})
    assert (status, "at most 512" in message) == (400, True), message


TOO_MUCH = {
    "sobol": {"n_designs": 512, "cells": 64}, "sensitivity_n": {"n_sizes": 64, "n_samples": 2000, "cells": 64},
    "shapley_sampling": {"n_samples": 2000, "n_segments": 1000}, "deep_fool": {"n_steps": 2000, "candidates": 100},
    "hsic": {"n_samples": 2000, "cells": 64}, "pgd": {"n_steps": 2000},
}  # fmt: skip


@pytest.mark.parametrize("method", TOO_MUCH)
def test_numbers_that_are_too_much_together_are_refused_at_once(client: Client, method: str) -> None:
    """Alone each is allowed. Together they took 68 GB (sobol), 5 GB, or a minute until they could be stopped (measured)."""
    maps = {"maps": [{"method": "saliency"}]} if method == "sensitivity_n" else {}
    asked = {"method": method, "pictures": [client.sample()], **maps}
    assert "too much for a studio" in client.refusal(**asked, parameters=TOO_MUCH[method])[1]
    offered = next(one for one in client.http.get("api/methods").json() if one["name"] == method)
    assert {one["name"] for one in offered["parameters"]} >= set(TOO_MUCH[method])
    few = {name: min(4, value) for name, value in TOO_MUCH[method].items()}
    assert client.run(**asked, parameters=few)["method"] == method


@pytest.mark.parametrize("name", ["predict", "visualize", "rise"])
def test_a_parameter_of_python_alone_is_refused(client: Client, name: str) -> None:
    asked = {"method": name, "pictures": [client.sample()], "units": ["3:5"], "parameters": {"batch": 10**9}}
    assert "has no parameter 'batch'" in client.refusal(**asked)[1]


# --- who asks


@pytest.mark.parametrize("host", ["evil.org", "evil.org:80", "127.0.0.1.evil.org", "", "[::1", "localhost.", "0.0.0.0"])
def test_other_names_are_refused(server: Server, host: str) -> None:
    """As when a page of another site has its name lead here (DNS rebinding)."""
    for path in ("", "api/about", "api/methods", "studio.js"):
        answer = httpx.get(server.address + path, headers={"Host": host})
        refused(answer, 403, "its own address")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.org"}, {"Origin": "null"}, {"Origin": "http://["}, {"Origin": ""}, {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "x"},
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(client: Client, headers: dict[str, str]) -> None:
    refused(client.http.get("api/methods", headers=headers), 403, "own page")
    refused(client.http.post("api/run", json={}, headers=headers), 403, "own page")
    refused(client.http.post("api/pictures", content=KINDS["cmyk"], headers=headers), 403, "own page")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp"]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_forms_of_other_sites_are_refused(client: Client, kind: str, chunked: bool) -> None:
    """Old browsers say neither `Origin` nor `Sec-Fetch-Site`, but they ask before they send JSON elsewhere."""
    body = json.dumps({"model": "tiny", "method": "predict", "pictures": [client.sample()]}).encode()
    for path in ("api/run", "api/model", "api/export"):
        refused(
            client.http.post(path, content=iter([body]) if chunked else body, headers={"Content-Type": kind}),
            403,
            "application/json",
        )


def test_the_token_is_asked_for_where_others_can_connect() -> None:
    with a_studio(host="0.0.0.0") as server:
        place = f"http://127.0.0.1:{server.port}/"
        about = httpx.get(place + "api/about").json()
        assert (set(about), about["token"]) == ({"version", "token"}, True)
        assert httpx.get(place, headers={"Host": "my-computer.local:99"}).status_code in (200, 404)
        for token in ("", "Bearer", "Bearer x", f"Bearer {server.token}x", f"Basic {server.token}", "Bearer \xe9"):
            headers = {"Authorization": token.encode("latin-1")} if token else {}
            for path in ("api/methods", "api/openapi.json", f"api/pictures/{'0' * 64}"):
                refused(httpx.get(place + path, headers=headers), 401, "token")
            refused(httpx.post(place + "api/run", json={}, headers=headers), 401, "token")
        good = {"Authorization": f"Bearer {server.token}"}
        assert httpx.get(place + "api/methods", headers=good).status_code == 200
        assert httpx.get(place + "api/about", headers=good).json()["token"] is False


def test_pages_of_the_user_need_a_key_where_others_can_connect(pages: dict[str, Any]) -> None:
    """A link cannot carry the token: the address itself holds what only those who have the token are told."""
    with a_studio(host="0.0.0.0", token=SECRET, **pages) as server:
        place = f"http://127.0.0.1:{server.port}/"
        about = httpx.get(place + "api/about", headers={"Authorization": f"Bearer {SECRET}"}).json()
        assert SECRET not in json.dumps(about)
        for there, gone in ((about["atlas"], "atlas/"), (about["reports"][0]["address"], "reports/0")):
            assert httpx.get(place + there).status_code == 200
            for wrong in (
                gone,
                f"{gone.partition('/')[0]}/{'0' * 32}/",
                f"{gone.partition('/')[0]}/{SECRET}/0",
                f"{gone}index.html",
            ):
                refused(httpx.get(place + wrong), 404, "no such file")
        assert httpx.get(place + about["atlas"] + "units.json").json() == [1]


@pytest.mark.parametrize(
    "address", ["hub.org/x", "ftp://hub.org", "https://", "https://[", "https://hub.org/?a=1", "https://hub.org/\n"]
)
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(TapetumError, match="an address is one such as"):
        Server({}, address=address)


# --- files


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Any]:
    """An atlas and a report, beside which lie files that nobody may have."""
    atlas = tmp_path / "atlas"
    (atlas / "deep").mkdir(parents=True)
    (tmp_path / "secret.json").write_text('"secret"')
    (tmp_path / "report.html").write_text("<html>report</html>")
    (atlas / "index.html").write_text("<html>atlas</html>")
    (atlas / "units.json").write_text("[1]")
    (atlas / "deep" / "more.json").write_text("[2]")
    (atlas / "secret.py").write_text("secret")
    (atlas / ".hidden.json").write_text('"secret"')
    (atlas / "link.json").symlink_to(tmp_path / "secret.json")
    (atlas / "folder").symlink_to(tmp_path)
    return {"atlas": atlas, "reports": [tmp_path / "report.html"]}


PATHS = r"""
    atlas/../secret.json atlas/%2e%2e/secret.json atlas/..%2fsecret.json atlas/deep/../../secret.json atlas//etc/passwd
    atlas/%2fetc%2fpasswd atlas/..\secret.json atlas/..%5csecret.json atlas/%00 atlas/units.json%00.html atlas/%ff%fe.json
    atlas/\\host\share\x.json atlas/link.json atlas/folder/secret.json atlas/.hidden.json atlas/secret.py atlas/deep atlas/.
    atlas/.. atlas/deep/ atlas/C:/x.json atlas/units.json/ atlas/units.json/x.json reports/1 reports/-1 reports/00 reports/٠
    reports/0/ reports/0/../0 reports/ reports atlas ../serve.py %2e%2e/serve.py ..%2f..%2fregistry.py /etc/passwd . .. api
    site/index.html index.html/ __pycache__ studio.js%00 api/ api/../secret.json api/jobs
"""
ELSEWHERE = [*PATHS.split(), "atlas/" + "a" * 5000, "atlas/" + "a/" * 5000, "reports/" + "9" * 5000]


def test_nothing_beside_the_pages_is_served(pages: dict[str, Any]) -> None:
    with a_studio(**pages) as server:
        client = Client(server)
        with client.http:
            assert client.http.get("atlas/units.json").json() == [1]
            assert client.http.get("atlas/deep/more.json").json() == [2]
            assert client.http.get("reports/0").text == "<html>report</html>"
            assert set(client.about()["reports"][0]) == {"title", "address"}
        for path in ELSEWHERE:
            raw = Raw(server).say(f"GET /{path} HTTP/1.1\nHost: HOST\nConnection: close\n\n")
            answer = b""
            while part := raw.socket.recv(65536):
                answer += part
            status = answer[9:12]
            assert status in (b"404", b"400", b"200"), (path, answer)
            assert b"secret" not in answer.partition(b"\r\n\r\n")[2], path
            assert status != b"200" or path in ("atlas/", "atlas"), path
            assert str(pages["atlas"]).encode() not in answer
