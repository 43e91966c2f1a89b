"""What `save` writes, `open` reads back, without pickle and without halves."""

from __future__ import annotations

import functools
import json
import zipfile
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sameness import same
from torch import Tensor
from zoo import pictures, shared

import tapetum as tp
from tapetum.types import (
    ActivationMaps,
    Attribution,
    Contrast,
    Evaluation,
    Layer,
    Prediction,
    Provenance,
    Run,
    TapetumError,
    Unit,
)


@functools.cache
def results() -> dict[str, Any]:
    """One of every kind."""
    model, images = shared("reused"), pictures(2)
    run = tp.run("smooth_grad", model, images, target=[1, 2], n_samples=3)
    attribution = run.value
    return {
        "attribution": attribution,
        "contrast": tp.grad_cam(model, images, tp.contrast(1, 2)),
        "unit": tp.saliency(model, images, Unit("three", 2, (1, 3))),
        "run": run,
        "evaluation": tp.run("deletion", model, images, attribution=attribution, n_steps=3),
        "maps": tp.activation_maps(model, images, layers="three"),
        "layers": list(model.layers()),
        "predictions": tp.predict(model, images),
        "evaluations": tp.evaluate(model, images, attribution, n_steps=2),
        "nan": Evaluation("deletion", torch.tensor([torch.nan]), torch.zeros(1, 2), torch.zeros(2), "lower"),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "integers": ActivationMaps(torch.zeros(1, 1, 2, 2), torch.tensor([[3]]), "layer", (2, 2), "mean"),
        "empty": [],
        "numbers": {1: 2.5, "two": None, "three": (True, "x")},
    }


KINDS = [
    "attribution", "contrast", "unit", "run", "evaluation", "maps", "layers", "predictions", "evaluations", "nan", "half",
    "integers", "empty", "numbers",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_comes_back_equal(kind: str, tmp_path: Path) -> None:
    result = results()[kind]
    folder = tp.save(result, tmp_path / "results" / kind)
    assert same(tp.open(folder), result)


def test_every_result_type_is_among_those_tested() -> None:
    def types_in(value: Any) -> set[type]:
        inner: list[Any] = []
        if is_dataclass(value):
            inner = [getattr(value, f.name) for f in fields(value)]
        elif isinstance(value, dict):
            inner = list(value.values())
        elif isinstance(value, (list, tuple)):
            inner = list(value)
        return {type(value)}.union(*map(types_in, inner))

    wanted = {ActivationMaps, Attribution, Contrast, Evaluation, Layer, Prediction, Provenance, Run, Unit}
    assert wanted <= types_in(results())
    assert list(results()) == KINDS


def test_a_callable_target_is_kept_by_its_name(tmp_path: Path) -> None:
    def my_target(output: Tensor) -> Tensor:
        return output[:, 0]

    result = tp.saliency(shared("reused"), pictures(1), my_target)
    assert tp.open(tp.save(result, tmp_path / "a")).target == ("my_target",)


def test_the_files_open_without_our_code_and_hold_no_pickle(tmp_path: Path) -> None:
    result = tp.grad_cam(shared("reused"), pictures(1), 1)
    folder = tp.save(result, tmp_path / "a")
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "manifest.json"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["schema"] == 2
    assert manifest["result"]["$type"] == "Attribution"
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays[manifest["result"]["values"]["$array"]], result.values)
    with zipfile.ZipFile(folder / "arrays.npz") as archive:
        for name in archive.namelist():
            assert archive.read(name).startswith(b"\x93NUMPY")


def test_an_error_leaves_nothing_under_the_name_nor_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tp.saliency(shared("reused"), pictures(1), 1)
    with pytest.raises(TapetumError, match=r"^a set cannot be saved$"):
        tp.save([result, {1, 2}], tmp_path / "a")
    for failure, refusal in ((OSError("the disk is full"), TapetumError), (KeyboardInterrupt(), KeyboardInterrupt)):
        for broken in ("numpy.savez_compressed", "tapetum.store.json.dumps"):
            with monkeypatch.context() as patch:

                def fail(*_: Any, failure: BaseException = failure, **__: Any) -> None:
                    raise failure

                patch.setattr(broken, fail)
                with pytest.raises(refusal, match=r"a cannot be written \(the disk is full\); choose|^$"):
                    tp.save(result, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path: Path) -> None:
    result = tp.saliency(shared("reused"), pictures(1), 1)
    (tmp_path / "a").mkdir()
    tp.save(result, tmp_path / "a")  # empty: fine
    before = (tmp_path / "a" / "manifest.json").read_bytes()
    (tmp_path / "file").write_text("mine")
    for name in ("a", "file"):
        with pytest.raises(TapetumError, match="is there already: give a new or an empty folder"):
            tp.save([1], tmp_path / name)
    assert (tmp_path / "a" / "manifest.json").read_bytes() == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_namesake_of_a_result_is_refused(tmp_path: Path) -> None:
    """A user's own `Layer` came back as ours, with the wrong fields or as another thing."""
    namesakes = [
        make_dataclass("Layer", ["name"])("mine"),
        make_dataclass("Run", ["value", "provenance"])(1, 2),
        type("Attribution", (Attribution,), {})(torch.zeros(1, 1, 2, 2), "mine", ("ok",), ("a",), (2, 2)),
    ]
    for mine in namesakes:
        with pytest.raises(TapetumError, match=f"^a {type(mine).__name__} cannot be saved$"):
            tp.save(mine, tmp_path / "a")
        with pytest.raises(TapetumError, match=r"cannot be saved$"):
            tp.save({"deep": [mine]}, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
