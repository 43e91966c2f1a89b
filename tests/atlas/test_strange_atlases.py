"""Atlases are passed on: what is wrong in one is a line, nothing outside of it is read, written or waited for, and a build that
goes on makes again what is damaged."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small import network, picture_folder

import tapetum as tp
from tapetum.atlas import database
from tapetum.atlas.activation_atlas import activation_atlas
from tapetum.atlas.asking import Asking
from tapetum.atlas.build import build
from tapetum.atlas.export import export, given
from tapetum.atlas.stages import MANIFEST, STORE
from tapetum.atlas.store import Store
from tapetum.atlas.units import render_units
from tapetum.types import DamagedError, TapetumError


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and atlas/, with a map and rendered units."""
    place = tmp_path_factory.mktemp("strange")
    made(place)
    return place


def made(place: Path, **keywords: Any) -> Any:
    if not (place / "data").is_dir():
        picture_folder(place / "data", 12, damaged=False)
    chosen: dict[str, Any] = {"render": ["second"], "maps": ["second"], "workers": 1, **keywords}
    with pytest.MonkeyPatch.context() as small:  # pictures of a step
        small.setattr("tapetum.atlas.build.render_units", partial(render_units, n_steps=1, size=16))
        small.setattr("tapetum.atlas.build.activation_atlas", partial(activation_atlas, n_steps=1, size=16, layout="pca"))
        return build(network(), place / "data", place / "atlas", **chosen)


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Path:
    for part in ("data", "atlas"):
        shutil.copytree(built / part, tmp_path / part)
    (tmp_path / "secret").write_text("secret")
    return tmp_path


@pytest.fixture
def atlas(place: Path) -> Path:
    return place / "atlas"


def said(work: Callable[[], Any]) -> str:
    """The refusal, one line; no other error."""
    with pytest.raises(TapetumError) as found:
        work()
    assert "\n" not in str(found.value)
    assert "unexpected" not in str(found.value)
    return str(found.value)


def asked(atlas: Path) -> dict[str, Any]:
    asking = Asking(atlas, network)
    try:
        return asking.fires(next((atlas.parent / "data").rglob("*.png")).read_bytes())
    finally:
        asking.close()


def told(atlas: Path, **fields: Any) -> None:
    manifest = json.loads((atlas / MANIFEST).read_text())
    (atlas / MANIFEST).write_text(json.dumps({**manifest, **fields}))


def sql(atlas: Path, *lines: str) -> None:
    with closing(sqlite3.connect(atlas / STORE)) as store, store:
        store.execute("PRAGMA writable_schema = ON")
        for line in lines:
            store.execute(line)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- names lead nowhere else

NAMES = [
    "../../secret",
    "/etc/passwd",
    "..",
    "a/b.webp",
    "a\\b.webp",
    ".hidden.webp",
    "x.html",
    "a\0.webp",
    "n" * 300 + ".webp",
    "",
    3,
    None,
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_sheet_is_a_plain_name_inside_the_atlas(atlas: Path, name: Any) -> None:
    manifest = json.loads((atlas / MANIFEST).read_text())
    manifest["rendered"]["second"]["positive"]["sheets"] = [name]
    told(atlas, rendered=manifest["rendered"])
    assert "is damaged: its rendered is" in said(lambda: export(atlas, atlas.parent / "site"))
    assert not (atlas.parent / "site").exists()


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_maps_sheets_are_plain_names(atlas: Path, name: Any) -> None:
    file = atlas / "maps" / "second.json"
    table = json.loads(file.read_text())
    table["sprite"]["sheets"] = [name]
    file.write_text(json.dumps(table))
    assert "is damaged: its sprite is" in said(lambda: export(atlas, atlas.parent / "site"))


@pytest.mark.parametrize("name", ["../../../outside", "/tmp/outside", "..", ".x", "a/b", "n" * 255, "", "a\nb"])
def test_a_layers_file_is_a_plain_name(atlas: Path, name: str) -> None:
    sql(atlas, f"UPDATE layers SET file = '{name}' WHERE id = 0")
    before = files(atlas.parent)
    assert "is damaged" in said(lambda: export(atlas, atlas.parent / "site"))
    assert "is damaged" in said(lambda: asked(atlas))
    assert files(atlas.parent) == before


@pytest.mark.parametrize("part", ["units/second-positive-000.webp", "maps/second.json", "pictures/000.webp", STORE, MANIFEST])
def test_links_out_of_the_atlas_pipes_and_huge_files_are_not_copied(atlas: Path, part: str) -> None:
    (atlas / part).unlink()
    (atlas / part).symlink_to(atlas.parent / "secret")
    assert "links are not followed" in said(lambda: export(atlas, atlas.parent / "site"))
    (atlas / part).unlink()
    os.mkfifo(atlas / part)
    assert "pipe" in (line := said(lambda: export(atlas, atlas.parent / "site"))) or "no such store" in line
    (atlas / part).unlink()
    (atlas / part).touch()
    os.truncate(atlas / part, 1 << 40)
    said(lambda: export(atlas, atlas.parent / "site"))
    assert not (atlas.parent / "site").exists()


def test_an_embedding_is_a_file_of_the_atlas_with_scores(atlas: Path) -> None:
    file = atlas / "embeddings" / "second.npy"
    whole = file.read_bytes()
    answer = asked(atlas)
    assert answer["fires"]
    for data in (
        b"",
        whole[:-1],
        whole + b"x",
        whole[:70],
        whole.replace(b"'<f2'", b"'|O' "),
        whole.replace(b"'<f2'", b"'<i2'"),
    ):
        for name in ("first", "second"):
            (atlas / "embeddings" / f"{name}.npy").write_bytes(data)
        assert "is damaged" in said(lambda: asked(atlas))
    for name in ("first", "second"):
        (atlas / "embeddings" / f"{name}.npy").unlink()
        (atlas / "embeddings" / f"{name}.npy").symlink_to(atlas.parent / "secret")
    assert "links are not followed" in said(lambda: asked(atlas))


# --- the store


STORES: dict[str, tuple[str, ...]] = {
    "a view that never ends": (
        "DROP TABLE fires",
        "CREATE VIEW fires AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
        "SELECT x AS picture, 0 AS place, 0 AS unit, 1.0 AS score, 1.0 AS z, 1.0 AS percentile FROM c",
    ),
    "a trigger": ("CREATE TRIGGER t AFTER UPDATE ON units BEGIN DELETE FROM units; END",),
    "a virtual table": ("CREATE VIRTUAL TABLE words USING fts4(text)",),
    "another table": ("CREATE TABLE more (x)",),
    "another index": ("CREATE INDEX more ON units (around)",),
    "a column more": ("ALTER TABLE units ADD COLUMN x",),
    "a table less": ("DROP TABLE neighbors",),
    "statistics that are something else": (
        "UPDATE sqlite_master SET sql = 'CREATE TABLE sqlite_stat1(tbl DEFAULT 1)' WHERE name = 'sqlite_stat1'",
    ),
    "a trillion channels": ("UPDATE layers SET channels = 1000000000000",),
    "no channels": ("UPDATE layers SET channels = 0",),
    "channels that are a text": ("UPDATE layers SET channels = 'many'",),
    "channels below zero": ("UPDATE layers SET channels = -5",),
    "another first": ("UPDATE layers SET first = 3 WHERE id = 1",),
    "a grid of nothing": ("UPDATE layers SET grid_rows = 0",),
    "a layer's name that is bytes": ("UPDATE layers SET name = x'00ff' WHERE id = 0",),
    "a name that is no text": ("UPDATE layers SET name = CAST(x'ff' AS TEXT) WHERE id = 0",),
    "a unit less": ("DELETE FROM units WHERE id = 3",),
    "a unit of another layer": ("UPDATE units SET layer = 7 WHERE id = 3",),
    "a unit of another channel": ("UPDATE units SET channel = 700 WHERE id = 3",),
    "a mean that is a text": ("UPDATE units SET mean = 'x' WHERE id = 3",),
    "around something": ("UPDATE units SET around = 'x'",),
    "top that is deep": ("UPDATE units SET top = '" + "[" * 900 + "]" * 900 + "'",),
    "top that is none": ("UPDATE units SET top = '[1, \"a\"]'",),
    "top of others": ("UPDATE units SET top = '[4000]'",),
    "a long text": ("UPDATE units SET label = zeroblob(3000000) WHERE id = 2",),
    "an example of another part": ("UPDATE examples SET part = 9 WHERE unit = 1 AND part = 3",),
    "an example of another picture": ("UPDATE examples SET picture = 900",),
    "a place that is a text": ("UPDATE examples SET grid_row = 'x'",),
    "edges that are cut": ("UPDATE histograms SET edges = x'000102'",),
    "counts that are more": ("UPDATE histograms SET counts = edges",),
    "edges that are no numbers": ("UPDATE histograms SET edges = replace(edges, edges, zeroblob(0)), counts = zeroblob(0)",),
    "histograms that are texts": ("UPDATE histograms SET edges = 'abcd', counts = ''",),
    "histograms that are gone": ("DELETE FROM histograms",),
    "a neighbor of no side": ("UPDATE neighbors SET opposite = 5 WHERE place = 0 AND opposite = 0",),
    "a correlation that is a text": ("UPDATE neighbors SET correlation = 'x'",),
    "a picture less": ("DELETE FROM pictures WHERE id = 2",),
    "a picture's name that is a number": ("UPDATE pictures SET name = CAST(x'80' AS TEXT)",),
    "a score that is a text": ("UPDATE fires SET score = 'x'",),
}


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_is_not_ours_is_damaged_and_made_again(name: str, place: Path) -> None:
    atlas = place / "atlas"
    sql(atlas, *STORES[name])
    begun = time.perf_counter()
    assert "is damaged" in said(lambda: export(atlas, place / "site"))
    assert time.perf_counter() - begun < 10
    assert not (place / "site").exists()


def test_a_build_that_goes_on_makes_a_damaged_store_again(built: Path, place: Path) -> None:
    for name in ("another table", "a mean that is a text", "a picture less"):
        sql(place / "atlas", *STORES[name])
        told(place / "atlas", title="another")  # so that the pages are made again
        assert "store" in made(place).done, name
        assert files(place / "atlas" / "site").keys() == files(built / "atlas" / "site").keys()
    with Store(place / "atlas" / STORE) as store:
        assert len(store.details(0, 3)) == 3


def test_flipped_bits_and_cuts_are_a_line_or_change_nothing_but_values(place: Path) -> None:
    whole, chance = (place / "atlas" / STORE).read_bytes(), random.Random(0)
    for i in range(120):
        data = bytearray(whole)
        for _ in range(1 + i % 3):
            data[chance.randrange(len(data) if i % 2 else 3000)] ^= 1 << chance.randrange(8)
        (place / "atlas" / STORE).write_bytes(bytes(data) if i % 10 else bytes(data[: chance.randrange(len(data))]))
        try:
            with Store(place / "atlas" / STORE) as store:
                last = store.layers()[-1]
                store.details(0, last["first"] + last["channels"])
                store.fires(0, store.count)
                for layer in store.layers():
                    [store.top(row) for row in store.columns(layer["id"])]
                store.search("a")
        except TapetumError as error:
            assert "\n" not in str(error)


def test_a_question_that_goes_on_and_on_ends(atlas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c"
    with Store(atlas / STORE) as store:
        with pytest.raises(DamagedError, match="gives more than a file of its size holds"):
            store.rows(endless.format("x"))
        monkeypatch.setattr(database, "LIMIT_S", 0.2)
        with pytest.raises(DamagedError, match=r"took more than 0\.2 s"):
            store.rows(endless.format("count(x)"))
        with pytest.raises(DamagedError, match="readonly"):
            store.rows("DELETE FROM units")


def test_a_journal_beside_the_store_is_not_played_back(atlas: Path) -> None:
    before = (atlas / STORE).read_bytes()
    (atlas / f"{STORE}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    (atlas / f"{STORE}-wal").write_bytes(bytes(100))
    with Store(atlas / STORE) as store:
        assert store.unit("second:0")["unit"] == "second:0"
    assert (atlas / STORE).read_bytes() == before


# --- the manifest and the map's table

VALUES: list[Any] = [None, 7, -1, 1.5, True, "text", ["a", 1], {"a": {"b": []}}, [], {}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in a JSON value."""
    if path:
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    value = json.loads(json.dumps(value))
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return value


def test_values_of_other_types_are_a_line_or_a_site(place: Path) -> None:
    """Everywhere in the manifest and in a map's table; a build that goes on makes a site of it in any case."""
    atlas, chance = place / "atlas", random.Random(1)
    for file in (atlas / MANIFEST, atlas / "maps" / "second.json"):
        whole = json.loads(file.read_text())
        paths = list(places(whole))
        for path in chance.sample(paths, min(len(paths), 120)):
            file.write_text(json.dumps(changed(whole, path, chance.choice(VALUES))))
            try:
                export(atlas, place / "site")
            except TapetumError as error:
                assert "\n" not in str(error)
        file.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is damaged: no JSON"),
        (b"\xff\xfe", "is damaged: no JSON"),
        (b"[1]", "holds no table"),
        (b"[" * 100_000, "more than 60 deep"),
        (b'{"schema": 1}', "holds no atlas of version 1"),
        (b'{"schema": 1, "stages": {}}', "unfinished"),
        (b'{"schema": 1, "stages": {"store": "x"}}', "its stages is"),
        (b'{"schema": 2, "stages": {}}', "holds no atlas of version 1"),
        (b'{"schema": [], "stages": {}}', "its schema is"),
    ],
)
def test_a_manifest_that_is_none_is_a_line_and_a_build_goes_on(place: Path, data: bytes, words: str) -> None:
    (place / "atlas" / MANIFEST).write_bytes(data)
    for work in (lambda: export(place / "atlas"), lambda: Asking(place / "atlas", network)):
        assert words in said(work)


def test_a_build_goes_on_without_a_damaged_manifest_map_index_or_mark(place: Path) -> None:
    atlas = place / "atlas"
    (atlas / MANIFEST).write_bytes(b"{")
    (atlas / "maps" / "second.json").write_text("[]")
    (atlas / "units" / "second-units.json").write_text('{"sprites": {"positive": {"sheets": ["../../secret"]}}}')
    (atlas / "embeddings" / "key.json").write_text("[1]")
    (atlas / "pictures" / "key.json").unlink()
    os.mkfifo(atlas / "pictures" / "key.json")
    again = made(place)
    assert "it was made again" in again.notes[0]
    manifest = json.loads((atlas / MANIFEST).read_text())
    assert list(manifest["maps"]) == list(manifest["rendered"]) == ["second"]
    assert (again.index.parent / "data" / "maps" / "second.js").is_file()


def test_the_site_shows_texts_as_texts(atlas: Path) -> None:
    evil = "</script><script>alert(1)</script>\u2028\u2029\x00'\"`${1}" + "x" * 5000
    told(atlas, title=evil)
    export(atlas, atlas.parent / "site")
    text = (atlas.parent / "site" / "data" / "index.js").read_bytes()
    assert text.isascii()
    assert b"\\u2028" in text
    assert text.count(b"\n") == 1
    assert given(atlas.parent / "site" / "data" / "index.js")["title"] == evil
    assert all(b"<script>alert" not in file.read_bytes() for file in (atlas.parent / "site").glob("*.*"))


# --- folders


def test_folders_of_other_projects_are_not_taken_for_an_atlas(tmp_path: Path) -> None:
    """Their names are common, and what is in them would be taken away."""
    for name in ("pictures", "maps", "site"):
        (tmp_path / "atlas" / name).mkdir(parents=True)
        (tmp_path / "atlas" / name / "mine.txt").write_text("mine")
    (tmp_path / "atlas" / MANIFEST).write_text('{"name": "my web application", "icons": []}')
    assert "holds other files (maps)" in said(lambda: made(tmp_path))
    assert len(list((tmp_path / "atlas").rglob("mine.txt"))) == 3


@pytest.mark.parametrize("name", [MANIFEST, STORE, ".lock", "scan", "embeddings", "pictures", "units", "maps", "site"])
def test_what_is_in_the_place_of_a_part_is_said_before_the_work(name: str, place: Path) -> None:
    part, outside = place / "atlas" / name, place / "outside"
    is_folder = part.is_dir()
    outside.mkdir() if is_folder else outside.write_text("mine")
    shutil.rmtree(part) if is_folder else part.unlink(missing_ok=True)
    begun = files(place)
    part.touch() if is_folder else part.mkdir()
    assert "take it away" in said(lambda: made(place))
    part.unlink() if is_folder else part.rmdir()
    part.symlink_to(outside)
    assert "take it away" in said(lambda: made(place))
    part.unlink()
    os.mkfifo(part)
    assert "take it away" in said(lambda: made(place))
    part.unlink()
    assert files(place) == begun


def test_links_deeper_inside_are_not_written_through(place: Path) -> None:
    shutil.rmtree(place / "atlas" / "scan" / "shards")
    (place / "outside").mkdir()
    (place / "atlas" / "scan" / "shards").symlink_to(place / "outside")
    assert "is a link; an atlas has none" in said(lambda: made(place))
    assert not any((place / "outside").iterdir())


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "/proc/atlas", "data/atlas/x"])
def test_names_that_no_folder_can_have_are_a_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture_folder(tmp_path / "pictures", 4, damaged=False)
    (tmp_path / "data").write_text("a file")
    said(lambda: build(network(), tmp_path / "pictures", name, render=None, maps=None))
    said(lambda: export(name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "pictures"]


def test_a_site_has_no_place_under_such_names(atlas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("n" * 300, "a\0b", "/proc/site", atlas / MANIFEST / "x"):
        said(lambda name=name: export(atlas, name))
    gone = atlas.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said(lambda: export("atlas", "site"))
    said(lambda: build(network(), atlas.parent / "data", "atlas", render=None, maps=None))


FULL = """
import resource, signal, sys
sys.path[:0] = {path!r}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from small import network
from tapetum.atlas.build import build
from tapetum.types import TapetumError
for size in (0, 1_000, 3_000, 20_000, 60_000, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        build(network(), {data!r}, {out!r}, render=None, maps=None, workers=1)
    except TapetumError as error:
        print(error)
"""


def test_a_full_disk_is_a_line_at_any_moment_and_the_same_command_goes_on(place: Path) -> None:
    shutil.rmtree(place / "atlas")
    script = FULL.format(path=sys.path, data=str(place / "data"), out=str(place / "atlas"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) >= 3
    assert all("cannot be written" in line for line in lines)
    assert not [path for path in (place / "atlas").rglob("*") if path.name.startswith(".tapetum-")]
    assert made(place).pictures == 12


def test_the_atlas_itself_is_what_it_was(built: Path, place: Path) -> None:
    """The tests above change copies of an atlas that works."""
    assert export(place / "atlas", place / "site").is_file()
    assert files(place / "site") == files(built / "atlas" / "site")
    assert tp.__name__
