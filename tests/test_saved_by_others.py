"""A saved result is perhaps somebody else's: what is damaged or crafted is one refusal, and takes no more than its file."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from zoo import pictures, shared

import tapetum as tp
from tapetum import store
from tapetum.types import DamagedError, Rendering, Run, TapetumError


def saved(folder: Path) -> Path:
    """A run with pictures, numbers, a table of parameters and a NaN."""
    run = tp.run("saliency", shared("reused"), pictures(2), target=[1, 2])
    made = Rendering(torch.rand(1, 3, 4, 4), torch.tensor([torch.nan]), ("a",), ("ok",), "", (1, 2), torch.zeros(2, 1))
    return tp.save(Run((run.value, made), run.provenance), folder)


def crafted(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A result whose manifest was changed by somebody who seals it again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    tree = change(manifest["result"])
    manifest["result"] = manifest["result"] if tree is None else tree
    manifest["seal"] = store.seal(manifest["result"], folder / "arrays.npz")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def refused(folder: Path | str, words: str = "") -> None:
    with pytest.raises(DamagedError, match=words) as caught:
        tp.open(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_any_flipped_byte_and_any_cut_is_a_refusal(tmp_path: Path) -> None:
    """87 of 400 flipped bytes in arrays.npz ended in zlib.error, NotImplementedError or TokenError."""
    folder, chance = saved(tmp_path / "a"), random.Random(0)
    tp.open(folder)
    for name in ("arrays.npz", "manifest.json"):
        whole = (folder / name).read_bytes()
        for i in range(150):
            data = bytearray(whole)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            (folder / name).write_bytes(data if i % 5 else data[: chance.randrange(len(data))])
            try:
                tp.open(folder)
            except DamagedError:
                continue
            assert json.loads(data)["result"] == json.loads(whole)["result"]  # it was in a blank, or in who saved it
        (folder / name).write_bytes(whole)
    tp.open(folder)


def test_what_is_no_folder_of_files_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    refused(tmp_path / "absent", "holds no saved result")
    refused(folder / "arrays.npz", "holds no saved result")
    refused("a\0b", "holds no saved result")
    refused("n" * 300, "holds no saved result")
    for name in ("arrays.npz", "manifest.json"):
        for kind, words in (("folder", "a folder|no file"), ("fifo", "a pipe|no file"), ("link", "leads out of")):
            other = tmp_path / f"{kind}-{name}"
            shutil.copytree(folder, other)
            (other / name).unlink()
            if kind == "link":
                (other / name).symlink_to(folder / name)
            else:
                (other / name).mkdir() if kind == "folder" else os.mkfifo(other / name)
            refused(other, words)


def test_results_of_an_earlier_version_are_refused_by_their_schema(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    for text, words in (
        ('{"schema": 1, "result": 3}', "saved with schema 1, this version reads 2"),
        ('{"schema": [' + "1," * 999 + "1]}", "saved with schema"),
        ("{}", "saved with schema None"),
        ("[]", "holds no table"),
        ('{"schema": 2}', "changed since it was saved"),
        ('{"schema": 2, "result": ' + "[" * 100_000 + "]" * 100_000 + "}", "deep"),
    ):
        (folder / "manifest.json").write_text(text)
        refused(folder, words)


VALUE = ("value", "$tuple", 0)
CRAFTED: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "nonsense": (("$type",), "Nonsense", "is no result of ours"),
    "no result": (("$type",), "Method", "is no result of ours"),
    "no class": (("$type",), "Callable", "is no result of ours"),
    "module": (("$type",), "targets", "is no result of ours"),
    "list as type": (("$type",), ["Run"], "is no result of ours"),
    "unknown field": ((*VALUE, "colour"), 3, "no field 'colour'"),
    "number for text": ((*VALUE, "method"), 3, "Attribution.method is 3, not str"),
    "list for tuple": ((*VALUE, "status"), ["ok", "ok"], "Attribution.status is a list, not a tuple"),
    "another status": ((*VALUE, "status"), {"$tuple": ["ok", "fine"]}, "status"),
    "one status": ((*VALUE, "status"), {"$tuple": ["ok"]}, "2 values, 1 status along n"),
    "truth for number": ((*VALUE, "size"), {"$tuple": [True, 16]}, "size"),
    "three sides": ((*VALUE, "size"), {"$tuple": [16, 16, 16]}, "size"),
    "text for size": ((*VALUE, "size"), "big", "Attribution.size is 'big'"),
    "no reduce": ((*VALUE, "reduce"), "average", "not sum or positive or max_abs"),
    "huge number": ((*VALUE, "frames"), 10**4000, "Attribution.frames"),
    "other result": ((*VALUE, "values"), {"$type": "Unit", "layer": "a", "channel": 1, "position": None}, "not Tensor"),
    "other in a row": ((*VALUE, "photos"), {"$tuple": [3]}, "photos"),
    "table for text": (("provenance", "method"), {"$dict": []}, "Provenance.method is a dict"),
    "other table": (("provenance", "versions"), {"$dict": [["torch", 2]]}, "versions"),
    "no pair": (("provenance", "versions"), {"$dict": [["torch"]]}, "a pair"),
    "no pairs": (("provenance", "versions"), {"$dict": 3}, "no list"),
    "list as key": (("provenance", "parameters"), {"$dict": [[["a"], 1]]}, "a key"),
    "key twice": (("provenance", "parameters"), {"$dict": [["a", 1], ["a", 2]]}, "two values of one key"),
    "no tuple": ((*VALUE, "size"), {"$tuple": 3}, "no list"),
    "no name": ((*VALUE, "explains"), {"$tuple": [{"$name": 3}]}, "a name"),
    "two kinds": ((*VALUE, "size"), {"$tuple": [1, 2], "$name": "x"}, "a table of"),
    "no kind": ((*VALUE, "size"), {"a": 1}, "a table of a"),
    "empty box": (
        (*VALUE, "explains"),
        {"$tuple": [{"$type": "Box", "label": 1, "x1": 1, "y1": 1, "x2": 0, "y2": 3}]},
        "is empty",
    ),
    "array of no name": ((*VALUE, "values", "$array"), 7, "not there"),
    "array not there": ((*VALUE, "values", "$array"), "a9", "not there"),
    "array of another name": ((*VALUE, "values", "$array"), "a1", "holds float32, not float64"),
    "array not named": ((*VALUE, "values"), None, "not Tensor"),
    "dtype": ((*VALUE, "values", "dtype"), "float32", "holds float64, not float32"),
    "no dtype": ((*VALUE, "values", "dtype"), "nonsense", "not nonsense"),
    "attribute of torch": ((*VALUE, "values", "dtype"), "load", "not load"),
    "shape": ((*VALUE, "values", "shape"), [2, 3, 4, 5], "has the shape"),
    "finite": ((*VALUE, "values", "finite"), False, "NaN or infinity"),
    "finite too": (("value", "$tuple", 1, "scores", "finite"), True, "NaN or infinity"),
    "steps": (("value", "$tuple", 1, "steps"), {"$tuple": [1]}, "1 steps, 2 values along s"),
    "more about an array": ((*VALUE, "values", "colour"), 3, "an array"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_manifest_that_describes_no_result_of_ours_is_refused(kind: str, tmp_path: Path) -> None:
    path, value, words = CRAFTED[kind]

    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = value

    refused(crafted(saved(tmp_path / "a"), change), words)


def test_a_field_that_is_missing_or_an_array_that_nothing_names_is_refused(tmp_path: Path) -> None:
    refused(crafted(saved(tmp_path / "a"), lambda tree: tree["provenance"].pop("lost") and None), "without its field 'lost'")
    refused(crafted(tp.save([torch.zeros(2)], tmp_path / "b"), lambda tree: [3]), "nothing in its manifest is array a0")
    refused(crafted(tp.save(torch.zeros(2), tmp_path / "c"), lambda tree: [tree, copy.deepcopy(tree)]), "named twice")


def test_who_saved_it_is_said_where_another_version_did(tmp_path: Path) -> None:
    folder = crafted(saved(tmp_path / "a"), lambda tree: tree["provenance"].pop("lost") and None)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"tapetum": "', '"tapetum": "99.', 1))
    refused(folder, r"; tapetum 99\.\S+ saved it, this is")


def test_pickled_arrays_and_arrays_of_other_numbers_are_not_read(tmp_path: Path) -> None:
    for i, array in enumerate((np.array([{"a": 1}], dtype=object), np.zeros(2, ">f4"), np.array(["a", "b"]))):
        folder = tp.save(torch.zeros(2), tmp_path / str(i))
        np.savez(folder / "arrays.npz", a0=array, allow_pickle=True)
        refused(crafted(folder, lambda tree: None), "is damaged")


def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path) -> None:
    run = tp.run("saliency", shared("reused"), pictures(2), target=[1, 2])
    with pytest.raises(TapetumError, match=r"Run\.provenance is 3, not Provenance: it cannot be saved"):
        tp.save(_made(Run, value=run.value, provenance=3), tmp_path / "a")
    with pytest.raises(TapetumError, match="2 values, 1 status"):
        tp.save(replace(run.value, status=("ok",)), tmp_path / "a")
    for tensor, words in (
        (torch.zeros(2, 2).to_sparse(), "a sparse_coo tensor cannot be saved"),
        (torch.zeros(2, device="meta"), "a meta tensor cannot be saved"),
        (torch.zeros(2, dtype=torch.float8_e4m3fn), "a float8_e4m3fn tensor cannot be saved"),
    ):
        with pytest.raises(TapetumError, match=words):
            tp.save(tensor, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def _made(kind: type, **fields: Any) -> Any:
    """A result as it is where nothing checks its types, as outside of tests."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def test_places_that_cannot_be_written_are_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "a", tmp_path / ("n" * 300), "/proc/nothing/a", "a\0b"):
        with pytest.raises(TapetumError, match="cannot be written"):
            tp.save([1], place)


def test_fifty_thousand_subjects_are_a_result_like_others(tmp_path: Path) -> None:
    run = tp.run("saliency", shared("reused"), pictures(1), target=1)
    names = tuple(f"photographs/of/animals/picture-{i:06d}.jpg" for i in range(50_000))
    wide = replace(run.provenance, subject=names, files=dict.fromkeys(names[::10], "0" * 64))
    opened = tp.open(tp.save(Run(run.value, wide), tmp_path / "a"))
    assert (opened.provenance.subject, opened.provenance.files) == (names, wide.files)


def test_arrays_that_shrink_a_thousandfold_are_saved_so_that_they_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.files.arrays.ROOM", 1_000_000)
    zeros = torch.zeros(1_000_000)
    folder = tp.save(zeros, tmp_path / "a")
    assert torch.equal(tp.open(folder), zeros)
    assert (folder / "arrays.npz").stat().st_size > 4_000_000


OPENING = """
import resource, sys, tapetum, torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    tapetum.open(sys.argv[1])
except tapetum.TapetumError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_stays_near_the_size_of_the_file(tmp_path: Path) -> None:
    """A file of 3.9 MB became 4.3 GB."""
    folder = tp.save(torch.zeros(2), tmp_path / "a")
    with (
        zipfile.ZipFile(folder / "arrays.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a0.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (180_000_000,)})
        for _ in range(720):
            file.write(bytes(1_000_000))
    crafted(folder, lambda tree: {**tree, "shape": [180_000_000]})
    said = subprocess.run([sys.executable, "-c", OPENING, folder], capture_output=True, text=True, check=True).stdout
    *words, grown = said.splitlines()
    assert "unpack to more than" in words[0]
    assert int(grown) < 200, said
