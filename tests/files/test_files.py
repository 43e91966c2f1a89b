"""Files from others are opened in one place: what is no plain file, no JSON or no array there is one refusal."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.files import array_in, arrays_in, contents, inside, is_plain, opened, parsed, shown, table_in
from tapetum.types import DamagedError, ImageError

# --- opening


def test_a_pipe_a_socket_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        begun = time.perf_counter()
        for path, kind in ((tmp_path / "p.jpg", "a pipe"), (tmp_path / "s", "a socket"), ("/dev/zero", "a device")):
            with pytest.raises(ImageError, match=f"{kind}, not a file; save what it gives"):
                opened(path, ImageError)
        assert time.perf_counter() - begun < 1


def test_folders_missing_files_and_names_that_no_file_can_have_are_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "a folder, not a file"),
        (tmp_path / "none", "no such file"),
        ("a\0b", "cannot be opened"),
        (tmp_path / ("n" * 300), "cannot be opened"),
    ):
        with pytest.raises(DamagedError, match=words):
            contents(path)


def test_a_working_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "gone"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    with pytest.raises(DamagedError, match="the working folder, which is gone"):
        opened("x.png")


def test_a_huge_sparse_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DamagedError, match="larger than 5 MB"):
        contents(tmp_path / "huge", 5_000_000)


# --- words and names


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert shown("a\x1b[31mred\x07\u202egnp.\ud800") == r"a\x1b[31mred\x07\u202egnp.\ud800"
    assert shown("Zürich 猫.png") == "Zürich 猫.png"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "C:x",
        ".hidden",
        "a\0b",
        "a\nb",
        "n" * 256,
        " a",
        "a.",
        None,
        3,
        ["a"],
    ],
)
def test_only_plain_names_are_followed(name: Any, tmp_path: Path) -> None:
    assert not is_plain(name)
    with pytest.raises(DamagedError, match="no plain name"):
        inside(tmp_path, name)


def test_links_out_of_the_folder_are_not_followed_and_others_are(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "atlas"
    (folder / "units").mkdir(parents=True)
    (folder / "units" / "a.webp").write_text("x")
    (folder / "units" / "b.webp").symlink_to("a.webp")
    (folder / "units" / "c.webp").symlink_to(tmp_path / "secret")
    (folder / "maps").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(folder)  # the folder itself may be a link: the person named it
    assert inside(tmp_path / "link", "units", "b.webp").read_text() == "x"
    for names in (("units", "c.webp"), ("maps", "secret")):
        with pytest.raises(DamagedError, match="leads out of"):
            inside(folder, *names)


# --- JSON


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", "[" * 900 + "]" * 900, "[" * 100_000, '{"a":' * 61 + "1" + "}" * 61, "1" * 5000, "\ud800"],
    ids=["empty", "cut", "no text", "deep", "deeper", "tables", "digits", "half"],
)
def test_json_that_is_none_is_damaged(text: Any) -> None:
    with pytest.raises(DamagedError, match=r"^it is damaged"):
        parsed(text, "it")


def test_json_of_usual_depth_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": [[1, {"b": None}]]}))
    assert table_in(tmp_path / "a.json") == {"a": [[1, {"b": None}]]}
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DamagedError, match="holds no table"):
        table_in(tmp_path / "a.json")


# --- arrays

MADE = {
    "a": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "c": np.array([True, False]),
    "d": np.array(["ok", "größer"]),
    "e": np.zeros((0, 3)),
    "f": np.array(2.5),
    "g": np.arange(4, dtype=">f4"),
}


def packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_come_back_as_numpy_wrote_them() -> None:
    back = arrays_in(packed(**MADE))
    assert list(back) == list(MADE)
    for name, array in MADE.items():
        assert (back[name].shape, back[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(back[name], array)


def test_any_flipped_byte_is_a_refusal_or_changes_nothing() -> None:
    """zlib.error, NotImplementedError and TokenError are what numpy's own reader ends in."""
    whole, chance = packed(**MADE), random.Random(0)
    for _ in range(600):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            back = arrays_in(bytes(data), "it")
        except DamagedError as error:
            assert str(error).startswith("it is damaged: ")
        else:
            assert {name: array.tobytes() for name, array in back.items()} == {n: a.tobytes() for n, a in MADE.items()} or list(
                back
            ) != list(MADE)  # a name stands in the archive's list without a checksum


def header(descr: str, shape: str, body: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'<f4'", "(1000000000000,)"),
        ("'<f4'", "(10, 99999999999999999999999)"),
        ("'<f4'", "(-1,)"),
        ("'<f4'", "(True, 1)"),
        ("'|O'", "(1,)"),
        ("[('a', '<f4')]", "(1,)"),
        ("'<M8[s]'", "(1,)"),
        ("'|V0'", "(4,)"),
        ("'<U0'", "(4,)"),
        ("('<f4', (1000, 1000))", "(1,)"),
        ("__import__('os').system('touch here')", "(1,)"),
        ("(" * 4000, "(1,)"),
        ("'<f4'", "(1," * 200),
    ],
)
def test_headers_that_promise_too_much_or_something_else_are_damaged(
    descr: str, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    array = header(descr, shape, bytes(64))
    with pytest.raises(DamagedError, match=r"^it is damaged"):
        array_in(io.BytesIO(array), len(array), "it", 1 << 30)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", array)
    with pytest.raises(DamagedError, match=r"^it is damaged"):
        arrays_in(buffer.getvalue(), "it")
    assert not list(tmp_path.iterdir())


def test_texts_and_truth_values_that_are_none_are_damaged() -> None:
    for array in (header("'<U1'", "(1,)", b"\xff\xff\xff\x7f"), header("'|b1'", "(1,)", b"\x07")):
        with pytest.raises(DamagedError):
            array_in(io.BytesIO(array), len(array), "it", 1 << 20)


def test_an_archive_unpacks_to_what_its_size_allows(tmp_path: Path) -> None:
    """3.9 MB of zeros became 4.3 GB."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(header("'|u1'", "(700000000,)"))
        for _ in range(700):
            file.write(bytes(1_000_000))
    with pytest.raises(DamagedError, match="unpack to more than 5"):
        arrays_in(tmp_path / "bomb.npz")


def test_encrypted_archives_other_members_and_two_of_a_name_are_damaged() -> None:
    data = bytearray(packed(a=np.zeros(3)))
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1
    with pytest.raises(DamagedError, match="encrypted"):
        arrays_in(bytes(data), "it")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.py", "raise SystemExit")
    with pytest.raises(DamagedError, match=r"evil\.py in it is no array"):
        arrays_in(buffer.getvalue(), "it")
