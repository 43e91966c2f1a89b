"""The server, asked over real connections."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from serving import served
from small import network, picture_folder

import tapetum as tp
from tapetum.atlas.asking import Asking
from tapetum.atlas.build import build
from tapetum.atlas.export import given
from tapetum.atlas.serve import Server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and out/, the atlas of it."""
    place = tmp_path_factory.mktemp("served")
    build(network(), picture_folder(place / "data", 20, damaged=False), place / "out", render=None, maps=None)
    (place / "secret.js").write_text("secret")
    (place / "out" / "site" / "link.js").symlink_to(place / "secret.js")
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    asking = Asking(place / "out", network)
    with served(asking) as server:
        yield server
    asking.close()


def asked(server: Server, path: str, data: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.address + path, data, names)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def raw(server: Server, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> int:
    """A path as it stands: urllib would tidy it."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def png(name: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), name).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_pages_come_as_they_are_on_disk_but_know_that_they_are_served(server: Server, place: Path) -> None:
    site = place / "out" / "site"
    status, headers, body = asked(server, "")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.replace(b'\n<meta name="tapetum-served" content="1">', b"") == (site / "index.html").read_bytes()
    for name, kind in (("atlas.js", "text/javascript; charset=utf-8"), ("atlas.css", "text/css; charset=utf-8"),
                       ("data/index.js", "text/javascript; charset=utf-8"), ("pictures/000.webp", "image/webp")):  # fmt: skip
        status, headers, body = asked(server, name)
        assert (status, headers["Content-Type"], body) == (200, kind, (site / name).read_bytes())


def test_a_file_that_a_browser_has_is_not_sent_again(server: Server) -> None:
    etag = asked(server, "atlas.css")[1]["ETag"]
    assert asked(server, "atlas.css", If_None_Match=etag)[::2] == (304, b"")
    assert asked(server, "atlas.css", If_None_Match='"other"')[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/../secret.js", "/..%2fsecret.js", "/%2e%2e/secret.js", "/data/../../../secret.js", "//etc/hostname", "/link.js", "/data",
     "/..\\secret.js", "/%00", "/nothing.js", "/" + "x" * 5000, "/../atlas.sqlite", "/api/nothing"],
)  # fmt: skip
def test_nothing_outside_the_site_is_given_out(server: Server, path: str) -> None:
    assert raw(server, "GET", path) == 404


def test_any_picture_is_answered_with_the_units_that_fire(server: Server, place: Path) -> None:
    """A picture of the data set has the z and the percentiles that the scan found."""
    site = place / "out" / "site"
    ids = given(site / "data" / "ids.js")["ids"]
    for number in (0, 7):
        status, headers, body = asked(server, "api/fires", (place / "data" / ids[number]).read_bytes())
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
        answer = json.loads(body)
        expected = given(site / "data" / "pictures" / "000.js")["fires"][number]
        assert [fire[:2] for fire in answer["fires"]] == [fire[:2] for fire in expected]
        for found, stored in zip(answer["fires"], expected, strict=True):
            assert found[2:4] == pytest.approx(stored[2:4], abs=0.011)  # another batch; two digits
            assert found[4] == pytest.approx(stored[4], abs=100 / 20)  # float16 may tie with a neighbour
        assert answer["seen"].startswith("data:image/webp;base64,")
        top = tp.predict(network(), place / "data" / ids[number], k=5)[0]
        assert [label for label, _ in answer["predictions"]] == [one.label or str(one.index) for one in top]
        assert [p for _, p in answer["predictions"]] == pytest.approx([one.probability for one in top], abs=1e-4)


def test_several_pictures_at_once_are_answered_each(server: Server) -> None:
    answers: dict[str, bytes] = {}

    def ask(color: str) -> None:
        answers[color] = asked(server, "api/fires", png(color))[2]

    threads = [threading.Thread(target=ask, args=(color,)) for color in ("red", "green", "blue", "white")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers.values())) == 4
    assert answers["red"] == asked(server, "api/fires", png("red"))[2]


def test_a_unit_comes_from_the_store(server: Server, place: Path) -> None:
    status, _, body = asked(server, "api/unit?unit=second:3")
    unit = json.loads(body)
    stored = given(place / "out" / "site" / "data" / "units" / "second-000.js")[3]
    assert status == 200
    assert {key: unit[key] for key in ("channel", "around", "threshold", "spectrum", "histogram")} == {
        key: stored[key] for key in ("channel", "around", "threshold", "spectrum", "histogram")
    }


@pytest.mark.parametrize(
    ("path", "data", "status", "words"),
    [
        ("api/unit?unit=second:99", None, 400, "second has channels 0 to 7, not 99"),
        ("api/unit?unit=third:1", None, 400, "no layer 'third'"),
        ("api/unit", None, 400, "name one unit"),
        ("api/fires", b"this is no picture", 400, "text, not an image"),
        ("api/fires", b"", 400, "empty"),
        ("api/fires", png()[:60], 400, "the bytes"),
        ("api/other", png(), 404, "api/fires"),
        ("api/fires", None, 404, "POST api/fires"),
    ],
)
def test_what_is_wrong_is_said(server: Server, path: str, data: bytes | None, status: int, words: str) -> None:
    found, headers, body = asked(server, path, data)
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert words in json.loads(body)["error"]


def test_other_sites_may_not_ask(server: Server) -> None:
    host = server.address.removeprefix("http://").rstrip("/")
    for headers in (
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "example.org"},
    ):
        assert raw(server, "POST", "/api/fires", headers, png()) == 403
    assert raw(server, "GET", "/", {"Host": "rebound.example:80"}) == 403
    assert raw(server, "POST", "/api/fires", {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}, png()) == 200
    assert raw(server, "OPTIONS", "/api/fires", {"Origin": "https://example.org"}) == 405
    assert "Access-Control-Allow-Origin" not in asked(server, "")[1]


def test_a_picture_may_not_be_too_large_nor_without_a_length(server: Server) -> None:
    assert raw(server, "POST", "/api/fires", {"Content-Length": "999999999"}) == 413
    assert raw(server, "POST", "/api/fires", {"Transfer-Encoding": "chunked"}) == 411


def test_another_model_is_not_asked_in_its_place(place: Path) -> None:
    asking = Asking(place / "out", lambda: network(seed=1))
    with pytest.raises(tp.TapetumError, match="other weights than the model of this atlas"):
        asking.fires(png())
    asking.close()


def test_a_port_in_use_and_a_folder_without_a_site_are_refused(server: Server, place: Path, tmp_path: Path) -> None:
    with pytest.raises(tp.TapetumError, match="cannot be used"):
        Server(server.asking, port=server.port)
    with pytest.raises(tp.TapetumError, match="holds no atlas"):
        Asking(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_and_ends_quietly(place: Path, sign: signal.Signals) -> None:
    command = [sys.executable, "-m", "tapetum", "atlas", "serve", str(place / "out"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address + "data/index.js", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(sign)
        try:
            rest: Any = process.communicate(timeout=20)
        finally:
            process.kill()
        assert (process.returncode, rest) == (0, ("", ""))
