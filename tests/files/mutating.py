"""Changes that a file may have suffered, or that somebody made who means harm: one at a time, drawn by a generator.

`mutated(folder, chance, outside)` changes one file of a folder in place and says what it did.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tapetum import store
from tapetum.reports.provenance import PROVENANCE_KEY, with_checksum
from tapetum.training.checkpoints import _digest
from tapetum.types import TapetumError

BAIT = "evil"
"""The name of code that must never run: evil.py, the folders evil/ and evil.pth lie in every case's folder."""


def baits(outside: Path) -> list[str]:
    """Texts that lead somewhere: to code, out of the folder, to a device, to another computer, into the terminal."""
    secret = outside / "secret.txt"
    return [
        f"{BAIT}.py:build", f"{BAIT}.py", f"./{BAIT}.py:build", f"{outside}/{BAIT}.py:build", BAIT, f"./{BAIT}", f"hf:./{BAIT}",
        f"{BAIT}.pth", f"{BAIT}.onnx", f"timm:local-dir:./{BAIT}", "../outside/secret.txt", str(secret), f"file://{secret}",
        "../../outside/made", f"{outside}/made", "http://127.0.0.1:9/x.png", "/dev/zero", "/dev/stdin", "pipe", "..", ".", "",
        "a\0b", "n" * 300, "\x1b]0;title\x07\x1b[31m", "\u202egnp.exe", "\ud800", "</script><script>alert(1)</script>",
        "resnet18", "torchvision:resnet18", "simple_cnn", "1e999", "nan", "a\nb\nc",
    ]  # fmt: skip


def odd_values(outside: Path) -> list[Any]:
    """What may stand in a table where something else is meant."""
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    return [
        None, True, False, 0, -1, 1, 7, 1 << 31, 10**12, 10**30, -(10**30), 0.5, 1e308, float("nan"), float("inf"), [], {},
        [[]], [None], [1, 2, 3], [-5, 1 << 40], {"": None}, {"a": 1}, deep, ["x"] * 50_000, *baits(outside),
    ]  # fmt: skip


# --- one file


def _bytes(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """Damage that knows nothing of the format."""
    changed = bytearray(data)
    at = chance.randrange(len(changed)) if changed else 0
    many = min(len(changed) - at, chance.choice([1, 2, 7, 64, 1000]))
    way = chance.randrange(7)
    if way <= 1 and changed:
        changed[at] ^= 1 << chance.randrange(8)
    elif way == 2:
        del changed[at:]
    elif way == 3:
        del changed[at : at + many]
    elif way == 4:
        changed[at:at] = chance.randbytes(many)
    elif way == 5:
        changed[at : at + many] = bytes([chance.choice([0, 255])]) * many
    else:
        changed += chance.randbytes(many)
    return bytes(changed), f"bytes, way {way} at {at}"


def table_changed(value: Any, chance: random.Random, outside: Path) -> tuple[Any, str]:
    """A table with one value, anywhere in it, replaced, taken away or added."""
    places: list[tuple[Any, Any]] = []
    level: list[Any] = [value]
    while level:
        one = level.pop()
        keys = list(one) if isinstance(one, dict) else range(min(len(one), 50)) if isinstance(one, list) else ()
        places += [(one, key) for key in keys]
        level += [one[key] for key in keys]
    if not places or chance.random() < 0.03:
        return chance.choice(odd_values(outside)), "all of it"
    holder, key = chance.choice(places)
    way = chance.random()
    if way < 0.15:
        del holder[key]
        return value, f"without {key}"
    if way < 0.22 and isinstance(holder, dict):
        holder[chance.choice(["$type", "$array", "schema", "key", "x" * 300, "\0"])] = holder[key]
        return value, f"one more beside {key}"
    odd = chance.choice(odd_values(outside))
    holder[key] = odd
    return value, f"{key} = {odd!r:.60}"


def _json(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    try:
        value, what = table_changed(json.loads(data), chance, outside)
    except ValueError:
        return _bytes(data, chance)
    return json.dumps(value).encode(), what


def _sealed(file: Path) -> None:
    """A saved result or an epoch whose checksum was computed again by whoever changed it: then all the rest is tested."""
    manifest = file.parent / "manifest.json"
    with contextlib.suppress(SafetensorError, TapetumError, OSError, ValueError, TypeError, KeyError, RecursionError):
        if file.name in ("manifest.json", "arrays.npz") and manifest.is_file():
            said = json.loads(manifest.read_text())
            said["seal"] = store.seal(said["result"], file.parent / "arrays.npz")
            manifest.write_text(json.dumps(said))
        elif file.name.startswith("epoch_"):
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
                text = opened.metadata()["tapetum"]
            save_file(tensors, file, {"tapetum": text, "sha256": _digest(tensors, text)})


def _array(chance: random.Random, array: np.ndarray) -> np.ndarray:
    """Another array of a file."""
    flat = np.array(array).reshape(-1)
    if flat.size and np.issubdtype(flat.dtype, np.floating):
        flat[chance.randrange(flat.size)] = chance.choice([np.nan, np.inf, -1e30, 1e30])
    choices: list[Callable[[], np.ndarray]] = [
        lambda: flat.reshape(array.shape),
        lambda: array[:0] if array.ndim else array,
        lambda: array.astype(chance.choice([np.float16, np.float64, np.int8, np.uint8, "U3", "S2", np.complex64, np.bool_])),
        lambda: np.zeros((2, 3, 5), np.float32),
        lambda: np.array(["x" * 10]),
        lambda: array[None],
        lambda: np.asfortranarray(array),
    ]
    with np.errstate(all="ignore"):
        try:
            return chance.choice(choices)()
        except ValueError:
            return np.zeros(1)


def lying_header(shape: str, descr: str = "'<f4'", body: bytes = bytes(64)) -> bytes:
    """A .npy file that promises something else than it holds."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + body


LIES = [
    ("(1000000000000,)", "'<f4'"), ("(-4,)", "'<f4'"), ("(0, 1000000000000)", "'<f4'"), ("(4,)", "'|O'"), ("(4,)", "'<M8[s]'"),
    ("(4,)", "[('a', '<f4')]"), ("(2**70,)", "'<f4'"), ("(4,)", "'<U1000000000'"), ("(" + "1," * 60 + ")", "'<f4'"),
]  # fmt: skip


def _npy(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    if chance.random() < 0.4:
        lie = chance.choice(LIES)
        return lying_header(*lie), f"a header that lies: {lie}"
    buffer = io.BytesIO()
    np.save(buffer, _array(chance, np.load(io.BytesIO(data), allow_pickle=False)))
    return buffer.getvalue(), "another array"


def _npz(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    from hashlib import sha256

    digest = sha256(data[:-32]).digest() == data[-32:]  # a shard
    with zipfile.ZipFile(io.BytesIO(data[:-32] if digest else data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(list(members))
    way = chance.randrange(6)
    if way == 0:
        del members[name]
    elif way == 1:
        members[chance.choice(["../../outside/made.npy", f"{BAIT}.py", "x.npy", "a|b.npy", "|9|x.npy"])] = members[name]
    elif way == 2:
        other = chance.choice(list(members))
        members[other] = members.pop(name)
    elif name == "about.npy":
        text, what = _json(np.load(io.BytesIO(members[name])).tobytes(), chance, outside)
        buffer = io.BytesIO()
        np.save(buffer, np.frombuffer(text, np.uint8))
        members[name] = buffer.getvalue()
        name = f"about: {what}"
    else:
        members[name] = _npy(members[name], chance, outside)[0]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, content in members.items():
            archive.writestr(one, content)
    made = buffer.getvalue()
    return made + (sha256(made).digest() if digest else b""), f"array {name}, way {way}"


def _safetensors(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    length = struct.unpack("<Q", data[:8])[0]
    about = json.loads(data[8 : 8 + length])
    if "tapetum" in about.get("__metadata__", ()) and chance.random() < 0.5:
        inner, what = table_changed(json.loads(about["__metadata__"]["tapetum"]), chance, outside)
        about["__metadata__"]["tapetum"] = json.dumps(inner)
    else:
        about, what = table_changed(about, chance, outside)
    text = json.dumps(about).encode()
    return struct.pack("<Q", chance.choice([len(text)] * 9 + [1 << 40])) + text + data[8 + length :], f"header: {what}"


def _pth(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    table: dict[Any, Any] = dict(torch.load(io.BytesIO(data), weights_only=True))
    table = table.get("state_dict", table)
    name = chance.choice(list(table))
    old = table[name]
    loop: dict[str, Any] = {}
    loop["again"] = loop
    deep: Any = old
    for _ in range(200):
        deep = {"a": deep}
    odd = {
        "huge": torch.zeros(1).expand(1 << 40), "other": torch.zeros(2, 2), "int": 3, "text": "x", "nan": old * float("nan"),
        "sparse": torch.eye(3).to_sparse(), "loop": loop, "deep": deep, "half": old.half(), "complex": torch.zeros(2) * 1j,
        "meta": torch.zeros(3), "empty": torch.zeros(0),
    }  # fmt: skip
    what = chance.choice(list(odd))
    table[chance.choice([name, name, 5, "x\0", ("a", 1)])] = odd[what]
    buffer = io.BytesIO()
    torch.save(table, buffer)
    return buffer.getvalue(), f"{name}: {what}"


def _png(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    """A provenance that was changed by somebody who can compute its checksum."""
    with Image.open(io.BytesIO(data)) as picture:
        text = getattr(picture, "text", {}).get(PROVENANCE_KEY)
        if text is None:
            return _bytes(data, chance)
        said = json.loads(text)
        said.pop("sha256")
        changed, what = table_changed(said, chance, outside)
        info, buffer = PngInfo(), io.BytesIO()
        try:
            info.add_text(PROVENANCE_KEY, with_checksum(changed) if isinstance(changed, dict) else json.dumps(changed))
        except (ValueError, RecursionError):
            info.add_text(PROVENANCE_KEY, "[" * 100_000)
        picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue(), f"provenance: {what}"


def _tar(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    """A header with one field changed and its checksum right."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
    at, changed = chance.choice(members).offset, bytearray(data)
    field, start, size = chance.choice(
        [("name", 0, 100), ("size", 124, 12), ("kind", 156, 1), ("link", 157, 100), ("mode", 100, 8)]
    )
    values = {
        "name": [b"../../outside/made.jpg", b"/abs.jpg", b"\x1b[31m.jpg", b"a\xff.jpg", b"x" * 100],
        "size": [b"77777777777\0", b"-0000000001\0", b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"zzz", b"00000000000\0"],
        "kind": [b"1", b"2", b"3", b"4", b"6", b"S", b"L", b"K", b"x", b"g", b"?", b"\0"],
        "link": [b"../../outside/secret.txt", b"/dev/zero"],
        "mode": [b"zzzzzzz\0", b"-000001\0"],
    }[field]
    value = chance.choice(values)
    changed[at + start : at + start + size] = value[:size].ljust(size, b"\0")
    block = bytes(changed[at : at + 148]) + b" " * 8 + bytes(changed[at + 156 : at + 512])
    changed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(changed), f"tar header: {field} = {value[:30]!r}"


def _sqlite(file: Path, chance: random.Random, outside: Path) -> str:
    odd = [None, -1, 10**12, 1e308, float("inf"), "text", b"", b"\0" * 7, chance.randbytes(30), *baits(outside)]
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA writable_schema = ON")
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = chance.choice(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column, value = chance.choice(columns), chance.choice(odd)
        if isinstance(value, str):
            value = value.encode("utf-8", "replace").decode()
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        statements: list[tuple[str, tuple[Any, ...]]] = [
            (f"UPDATE {table} SET {column} = ?", (value,)),
            (f"UPDATE {table} SET {column} = ? WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1)", (value,)),
            (f"UPDATE {table} SET {column} = ? WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1)", (value,)),
            (f"DELETE FROM {table}", ()),
            (f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} LIMIT 1)", ()),
            (f"ALTER TABLE {table} RENAME TO other", ()),
            (f"ALTER TABLE {table} RENAME COLUMN {column} TO other", ()),
            (f"ALTER TABLE {table} ADD COLUMN other", ()),
            (f"ALTER TABLE {table} RENAME TO other; CREATE VIEW {table} AS {endless}", ()),
            (f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END", ()),
            ("UPDATE sqlite_master SET sql = 'CREATE TABLE ' || name || ' (x)'", ()),
        ]
        sql, parameters = chance.choice(statements)
        try:
            for part in sql.split("; ") if "VIEW" in sql else [sql]:
                database.execute(part, parameters)
            database.commit()
        except sqlite3.Error as error:
            return f"{sql[:60]}: not possible ({error})"
    return f"{sql[:80]} {parameters!r:.50}"


def _parquet(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(data))
    name = chance.choice(table.column_names)
    i = table.column_names.index(name)
    odd = chance.choice([[None], [""], [-1], [10**12], [b"\0" * 3], [["a"]], [1.5]])
    way = chance.randrange(4)
    if way == 0:
        table = table.drop_columns([name])
    elif way == 1:
        table = table.set_column(i, name, pyarrow.array(odd * len(table)))
    elif way == 2:
        table = table.slice(0, chance.randrange(len(table) + 1))
    else:
        table = pyarrow.concat_tables([table, table])
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue(), f"column {name}, way {way}, {odd}"


def _http(data: bytes, chance: random.Random, outside: Path) -> tuple[bytes, str]:
    """A request with one line changed, added or said twice."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, path, version = first.split(b" ")
    odd = chance.choice(baits(outside)).encode("utf-8", "replace")
    numbers = [b"9" * 5000, b"-1", b"1e3", b"0x10", b" 5", b"+5", b"5, 5", b"99999999999", b"", b"\xb2"]
    more = [
        b"Content-Length: " + chance.choice(numbers), b"Transfer-Encoding: chunked", b"Host: evil.example",
        b"Expect: 100-continue", b"Origin: http://evil.example", b"X: " + b"y" * 100_000, b"no colon", b" folded: 1",
        b"X\0: 1", b"Range: bytes=0-1",
    ]  # fmt: skip
    way = chance.randrange(6)
    if way == 0:
        method = chance.choice([b"PUT", b"TRACE", b"OPTIONS", b"HEAD", b"", b"G\0T", b"\x1b[31m", b"PRI", b"__init__"])
    elif way == 1:
        path = chance.choice(
            [b"/" + odd, b"/%2e%2e/%2e%2e/secret.txt", b"//x/y", b"http://x/", b"*", b"/api/unit?unit=" + odd, b"/%00"]
        )
    elif way == 2:
        version = chance.choice([b"HTTP/0.9", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9999999999.1", b"HTP", b""])
    elif way == 3 and lines:
        lines[chance.randrange(len(lines))] = chance.choice(more)
    elif way == 4:
        lines += chance.choices(more, k=chance.choice([1, 2, 300]))
    else:
        body = chance.choice([body[:-5], body + data, b"junk" * 9999, data])
    return b"\r\n".join([b" ".join([method, path, version]), *lines]) + b"\r\n\r\n" + body, f"request, way {way}"


# --- what lies there instead of a file


def _container(file: Path, chance: random.Random, outside: Path) -> str:
    what = chance.choice(["pipe", "folder", "link out", "link to itself", "empty", "sparse", "gone"])
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    elif what == "link out":
        file.symlink_to(outside / "secret.txt")
    elif what == "link to itself":
        file.symlink_to(file.name)
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "sparse":
        with file.open("wb") as made:
            made.truncate(1 << 38)
    return what


class Change(NamedTuple):
    """What was done to which file; `blind`: by chance, not by somebody who knows the format."""

    what: str
    blind: bool


def mutated(folder: Path, chance: random.Random, outside: Path) -> Change:
    """Changes one file of a folder, as its format or as bytes, or puts something else in its place."""
    file = chance.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    where, way = file.relative_to(folder), chance.random()
    if way < 0.08:
        what = _container(file, chance, outside)
        return Change(f"{where}: {what}", blind=what in ("empty", "sparse", "gone"))  # a link or a pipe was put there
    as_bytes = way < 0.35 or file.suffix not in FORMATS
    blind = as_bytes and file.name != "plan.json"  # another key there is another scan, which is refused
    if as_bytes:
        data, what = _bytes(file.read_bytes(), chance)
    elif file.suffix == ".sqlite":
        return Change(f"{where}: {_sqlite(file, chance, outside)}", blind=False)
    else:
        data, what = FORMATS[file.suffix](file.read_bytes(), chance, outside)
    file.write_bytes(data)
    if not blind:
        _sealed(file)
    return Change(f"{where}: {what}", blind)


FORMATS: dict[str, Callable[[bytes, random.Random, Path], tuple[bytes, str]]] = {
    ".json": _json, ".npz": _npz, ".npy": _npy, ".safetensors": _safetensors, ".pth": _pth, ".png": _png, ".tar": _tar,
    ".parquet": _parquet, ".http": _http, ".sqlite": lambda *_: (b"", ""),
}  # fmt: skip
