"""What anybody may send to `tapetum atlas serve`, over bare sockets: each gets an answer, and keeps nobody else from his."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serving import served
from small import network, picture_folder

from tapetum.atlas import connections
from tapetum.atlas.asking import Asking
from tapetum.atlas.build import build
from tapetum.atlas.serve import CONNECTIONS, PICTURES, Server
from tapetum.types import TapetumError

TESTS = Path(__file__).parents[1]


@dataclass
class Target:
    """A server's address, and its process."""

    port: int
    pid: int

    def line(self, data: bytes = b"", *, most: int | None = None) -> socket.socket:
        """A connection on which this was sent; `most`: bytes that wait unread on our side."""
        line = socket.socket()
        line.settimeout(20)
        if most is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, most)
        line.connect(("127.0.0.1", self.port))
        with contextlib.suppress(ConnectionError):  # refused before all of it was taken
            line.sendall(data.replace(b"HOST", f"127.0.0.1:{self.port}".encode()))
        return line

    def ask(self, data: bytes) -> bytes:
        """All that comes until the server closes."""
        with self.line(data) as line:
            return rest(line)

    def of_process(self, what: str) -> int:
        """A number that the system knows of the process: kB, or a count."""
        found = re.search(rf"^{what}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def rest(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(1 << 16), b""))


def png(width: int, height: int) -> bytes:
    """Half-transparent, of one color: small as a file, large when decoded."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress((b"\0" + bytes((200, 40, 90, 128)) * width) * height, 1)
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GET = b"GET /atlas.css HTTP/1.1\r\nHost: HOST\r\n"
POST = b"POST /api/fires HTTP/1.1\r\nHost: HOST\r\n"
PAGE = GET + b"\r\n"
HIDDEN = PAGE.replace(b"HOST", b"127.0.0.1")


def post(data: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(data) + data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("attacked")
    build(network(), picture_folder(place / "data", 12, damaged=False), place / "out", render=None, maps=None)
    (place / "out" / "site" / "large.js").write_bytes(b"x" * 20_000_000)
    os.mkfifo(place / "out" / "site" / "pipe.js")
    (place / "out" / "site" / "ring.js").symlink_to("ring.js")
    return place / "out"


@pytest.fixture(scope="module")
def target(folder: Path) -> Iterator[Target]:
    """The real command, in a process of its own; at the end it is stopped in the midst of things."""
    command = [sys.executable, "-m", "tapetum", "atlas", "serve", str(folder), "--port", "0"]
    command += ["--model", f"{TESTS / 'atlas' / 'small.py'}:network"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            target = Target(int(address.rstrip("/").rpartition(":")[2]), process.pid)
            yield target
            with target.line(b"GET / HT"), target.line(post(png(4000, 4000))):
                process.send_signal(signal.SIGTERM)
                output = process.communicate(timeout=5)
        finally:
            process.kill()
        assert (process.returncode, output) == (0, ("", ""))


@pytest.fixture
def hurried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Target, Server]]:
    """A server whose patience ends after half a second, in this process."""
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(connections, "SLOWEST", 1e9)
    asking = Asking(folder, network)
    with served(asking) as server:
        yield Target(server.port, os.getpid()), server
    asking.close()


LINES = [
    (200, PAGE), (200, b"HEAD /atlas.css HTTP/1.1\r\nHost: HOST\r\n\r\n"), (200, b"GET / HTTP/1.0\r\nHost: HOST\r\n\r\n"),
    # a body that is no body
    (413, POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"), (400, POST + b"Content-Length: -1\r\n\r\n"),
    (400, POST + b"Content-Length: 1e3\r\n\r\n"), (400, POST + b"Content-Length: +3\r\n\r\nabc"),
    (400, POST + b"Content-Length: 1_0\r\n\r\n0123456789"), (400, POST + b"Content-Length: \xd9\xa3\r\n\r\nabc"),
    (400, POST + b"Content-Length:\r\n\r\nabc"), (400, POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
    (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), (411, POST + b"\r\nabc"),
    (411, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (400, POST + b"Content-Length: 3\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN),
    (413, POST + b"Expect: 100-continue\r\nContent-Length: 30000001\r\n\r\n"),
    # a request in another's body, or behind it
    (411, GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN), (200, PAGE * 3),
    (400, GET + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN), (400, GET + b"Content-Length : 4\r\n\r\nabcd" + HIDDEN),
    (400, b"HEAD" + GET[3:] + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN),
    # headers
    (431, GET + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n"), (431, GET + b"X: 1\r\n" * 10_000 + b"\r\n"),
    (431, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n"), (431, b"x" * 60_000 + GET[3:] + b"\r\n"),
    (400, GET + b"X: a\0b\r\n\r\n"), (400, GET + b"X: a\r\n b: c\r\n\r\n"), (400, GET + b": x\r\n\r\n"),
    (400, GET + b"junk\r\n\r\n"), (400, GET + b"X: a\rGET / HTTP/1.1\r\n\r\n"), (200, GET + b"If-None-Match: \xff\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"), (400, GET + b"Host: evil.example\r\n\r\n"),
    (403, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
    (403, b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example:80\r\n\r\n"), (200, b"GET / HTTP/1.1\r\nHost: LocalHost\r\n\r\n"),
    # paths
    (400, b"GET /\0 HTTP/1.1\r\nHost: HOST\r\n\r\n"), (400, b"GET /\x1b[31m HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (400, b"GET\x0b/\x0bHTTP/1.1\r\nHost: HOST\r\n\r\n"), (404, b"GET /%2e%2e/manifest.json HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (404, b"GET /../manifest.json HTTP/1.1\r\nHost: HOST\r\n\r\n"), (404, b"GET /a.css%00.js HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (404, b"GET //[ HTTP/1.1\r\nHost: HOST\r\n\r\n"), (400, b"GET http://[x/ HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (400, b"GET http://evil.example/ HTTP/1.1\r\nHost: HOST\r\n\r\n"), (400, b"GET atlas.css HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (404, b"GET /pipe.js HTTP/1.1\r\nHost: HOST\r\n\r\n"), (404, b"GET /ring.js HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (404, b"GET /%ff%fe.js HTTP/1.1\r\nHost: HOST\r\n\r\n"), (400, b"GET /api/unit?unit=%00:1 HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (400, b"GET /api/unit?unit=%ff:" + b"9" * 9000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    (400, b"GET /api/unit?" + b"&" * 9000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    # methods and versions
    *((405, name + GET[3:] + b"\r\n") for name in (b"PUT", b"OPTIONS", b"TRACE", b"DELETE", b"CONNECT", b"get")),
    (400, b"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n"), (400, b"__class__" + GET[3:] + b"\r\n"),
    (400, b"G\xffT / HTTP/1.1\r\nHost: HOST\r\n\r\n"),
    *((400, b"GET / " + name + b"\r\nHost: HOST\r\n\r\n")
      for name in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1." + b"1" * 5000, b"HTTP/\xb2.1", b"FTP/1.1", b"HTTP/1_1.1", b"")),
    (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (400, b"\r\n" * 1000 + PAGE), (400, bytes(range(256)) * 20 + b"\r\n\r\n"),
    # of other questions the whole file
    (200, GET + b"Range: bytes=" + b"0-," * 3000 + b"\r\n\r\n"), (200, GET + b"If-Modified-Since: junk\r\n\r\n"),
    (200, GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    # pictures
    (400, post(os.urandom(1000))), (400, post(bytes(29_999_999))), (400, post(b"\x93NUMPY\x01\x00" + bytes(100))),
]  # fmt: skip


@pytest.mark.parametrize(("status", "data"), LINES, ids=[f"{i}: {data[:40]!r}" for i, (_, data) in enumerate(LINES)])
def test_every_request_has_one_answer_with_the_headers_of_all(target: Target, status: int, data: bytes) -> None:
    answer = target.ask(data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1 + body.count(b"HTTP/1.1 ")
    for name, value in connections.SECURE.items():
        assert f"\r\n{name}: {value}".encode() in head
    if status != 200:
        assert body.startswith(b'{"error": "')
    if data.startswith(b"HEAD"):
        assert body == b"" or status == 400
    else:
        assert int(re.findall(rb"\r\nContent-Length: (\d+)", head)[0]) == len(body)


def test_any_bytes_are_a_request_or_are_refused() -> None:
    chance = random.Random(0)
    seeds = [data.partition(b"\r\n\r\n")[0][:400] for _, data in LINES]
    taken = 0
    for _ in range(3000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.randrange(3)] = chance.choice(
                [b"", b"\r\n", b":", b"0", bytes([chance.randrange(256)])]
            )
        with contextlib.suppress(connections.RefusedRequest):
            request = connections.request_in(bytes(data) + b"\r\n\r\n")
            assert request.method in connections.METHODS
            assert request.target.startswith("/")
            assert request.length >= 0
            taken += 1
    assert taken > 100


def test_whoever_expects_https_is_told_at_once(target: Target) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
    assert b"begins with http://" in target.ask(hello)


def test_a_site_that_is_a_link_to_elsewhere_is_not_served(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "atlas"
    other.mkdir()
    for name in ("manifest.json", "atlas.sqlite"):
        (other / name).write_bytes((folder / name).read_bytes())
    (other / "site").symlink_to(folder / "site")
    asking = Asking(other, network)
    with pytest.raises(TapetumError, match="link that leads out"):
        Server(asking)
    asking.close()


@pytest.mark.parametrize("host", ["256.1.1.1", "a" * 300, "a\0b", "::zz", "é" * 80, "8.8.8.8"])
def test_a_host_that_is_none_is_refused(folder: Path, host: str) -> None:
    asking = Asking(folder, network)
    with pytest.raises(TapetumError, match="cannot be used"):
        Server(asking, host)
    asking.close()


def test_what_is_half_a_request_is_refused_when_its_sender_ends(target: Target) -> None:
    for status, data in ((408, b"GET / HT"), (408, b"GET /\r\n"), (400, POST + b"Content-Length: 500\r\n\r\nabc")):
        with target.line(data) as line:
            line.shutdown(socket.SHUT_WR)
            assert rest(line).startswith(b"HTTP/1.1 %d " % status)
    with target.line() as line:
        line.shutdown(socket.SHUT_WR)
        assert rest(line) == b""


def test_bytes_that_were_announced_are_called_for(target: Target) -> None:
    data = png(3, 3)
    with target.line(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(data)) as line:
        assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(data)
        assert rest(line).startswith(b"HTTP/1.1 200 ")


def test_two_hundred_at_once_are_answered(target: Target) -> None:
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(target.ask(PAGE))) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 200 "] * 200


def test_connections_that_say_nothing_keep_nobody_out_and_hold_no_thread(target: Target) -> None:
    threads = target.of_process("Threads")
    with contextlib.ExitStack() as open_ones:
        for _ in range(CONNECTIONS + 100):
            open_ones.enter_context(target.line())
        start = time.monotonic()
        assert target.ask(PAGE).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - start < 2
        assert target.of_process("Threads") <= threads + 2


def test_beginnings_of_requests_hold_no_more_connections_than_there_are_places(target: Target) -> None:
    with contextlib.ExitStack() as open_ones:
        for _ in range(CONNECTIONS + 300):
            open_ones.enter_context(target.line(b"GET / HT"))
        assert target.ask(PAGE).startswith(b"HTTP/1.1 200 ")
        end = time.monotonic() + 5  # the last that were dropped are closed a moment later
        while target.open_files() >= CONNECTIONS + 100:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_pictures_that_drip_keep_no_picture_out(target: Target) -> None:
    with contextlib.ExitStack() as open_ones:
        for _ in range(PICTURES):
            open_ones.enter_context(target.line(POST + b"Content-Length: 1000000\r\n\r\na"))
        time.sleep(0.2)
        assert target.ask(post(png(5, 5))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("data", [b"G", GET, POST + b"Content-Length: 1000\r\n\r\n"])
def test_dripping_ends(hurried: tuple[Target, Server], data: bytes) -> None:
    """A byte that comes now and then does not begin the wait anew."""
    target, _ = hurried
    start = time.monotonic()
    with target.line(data) as line:
        line.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - start < 10:
            line.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = line.recv(100)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.4 < time.monotonic() - start < 5


def test_a_reader_that_does_not_read_is_left(hurried: tuple[Target, Server]) -> None:
    target, _ = hurried
    with target.line(b"GET /large.js HTTP/1.1\r\nHost: HOST\r\n\r\n", most=4096) as line:
        time.sleep(1.5)
        with contextlib.suppress(ConnectionError):
            assert len(rest(line)) < 20_000_000


def test_a_large_file_comes_whole(target: Target) -> None:
    answer = target.ask(b"GET /large.js HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == b"x" * 20_000_000


def test_a_fault_inside_is_told_and_the_next_question_answered(
    hurried: tuple[Target, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, server = hurried
    with monkeypatch.context() as broken:
        broken.setattr(server.asking, "fires", lambda data: {}["nothing"])
        answer = target.ask(post(b"a"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"the server failed at this (KeyError)" in answer
    assert target.ask(post(png(5, 5))).startswith(b"HTTP/1.1 200 ")


def test_questions_about_units_leave_no_file_open(target: Target) -> None:
    """Each had a thread, each thread a connection to the store, and none was closed."""
    ask = b"GET /api/unit?unit=second:3 HTTP/1.1\r\nHost: HOST\r\n\r\n"
    assert target.ask(ask).startswith(b"HTTP/1.1 200 ")
    before = target.open_files()
    for _ in range(50):
        target.ask(ask)
    assert target.open_files() < before + 10


def test_pictures_take_less_than_two_gigabytes_however_many_come(target: Target) -> None:
    """Four of 8000 x 8000 passed 11 GB in six seconds; forty unfinished bodies of 30 MB took 1.2 GB."""
    answers: list[bytes] = []
    huge, large = post(png(8000, 8000)), post(png(5600, 5600))
    threads = [threading.Thread(target=lambda one=one: answers.append(target.ask(one))) for one in [huge] * 4 + [large] * 3]
    with contextlib.ExitStack() as open_ones:
        for _ in range(20):
            open_ones.enter_context(target.line(POST + b"Content-Length: 30000000\r\n\r\n" + bytes(20_000_000)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answer[:13] for answer in answers) == [b"HTTP/1.1 200 "] * 3 + [b"HTTP/1.1 400 "] * 4
    assert sum(b"8000 x 8000, more than 32 million pixels" in answer for answer in answers) == 4
    assert target.of_process("VmHWM") < 2_000_000
