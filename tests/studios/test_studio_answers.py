"""What the studio answers is what Python gives."""

from __future__ import annotations

import base64
import io
import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
from asking import Client, tiny, values_of
from PIL import Image
from skimage import data

import tapetum as tp
from tapetum.cli import main


@pytest.fixture(scope="module")
def model() -> tp.VisionModel:
    return tiny()


def images(model: tp.VisionModel) -> torch.Tensor:
    return model.preprocess([tp.read_image(data.coffee())])


def test_predictions_are_those_of_python(client: Client, model: tp.VisionModel) -> None:
    answer = client.run(method="predict", pictures=[client.sample()])
    rows = answer["value"]["rows"][0]
    expected = tp.predict(model, images(model))[0]
    assert [row["label"] for row in rows] == [one.label for one in expected]
    assert [row["probability"] for row in rows] == pytest.approx([one.probability for one in expected], abs=1e-6)


@pytest.mark.parametrize("method", ["grad_cam", "saliency", "integrated_gradients", "occlusion", "smooth_grad"])
def test_maps_are_those_of_python_for_two_classes(client: Client, model: tp.VisionModel, method: str) -> None:
    for target in ("ant", "dog"):
        answer = client.run(method=method, pictures=[client.sample()], target=target)["value"]
        expected = getattr(tp, method)(model, images(model), target)
        assert answer["maps"][0]["target"] == target
        if expected.status[0] != "ok":
            assert answer["maps"][0]["map"] is None
            assert answer["maps"][0]["status"] == expected.status[0]
            continue
        own = expected.heatmap(None)[0].numpy()
        np.testing.assert_allclose(values_of(answer["maps"][0]["map"]), own, atol=1e-6 * np.abs(own).max())
        assert answer["size"] == [32, 32]


def test_a_sent_picture_is_read_as_python_reads_it(client: Client, model: tp.VisionModel) -> None:
    file = io.BytesIO()
    Image.fromarray(data.rocket()).save(file, "PNG")
    sent = client.http.post("api/pictures?name=mine.png", content=file.getvalue()).json()
    assert (sent["width"], sent["height"], sent["name"]) == (640, 427, "mine.png")
    row = client.run(method="predict", pictures=[sent["id"]])["value"]["rows"][0][0]
    expected = tp.predict(model, model.preprocess(tp.read_image(data.rocket())))[0][0]
    assert (row["label"], row["probability"]) == (expected.label, pytest.approx(expected.probability, abs=1e-6))
    seen = client.http.get(f"api/pictures/{sent['id']}/seen?model=tiny")
    levels = np.array(Image.open(io.BytesIO(seen.content)))
    crop = model.denormalize(model.preprocess(tp.read_image(data.rocket())))[0]
    np.testing.assert_allclose(levels / 255, crop.movedim(0, -1), atol=0.51 / 255)


def test_pictures_of_units_are_those_of_python(client: Client, model: tp.VisionModel) -> None:
    answer = client.run(method="visualize", units=["3:5", "bee"], parameters={"size": 32, "n_steps": 6})["value"]
    expected = tp.visualize(model, ["3:5", "bee"], size=32, n_steps=6)
    assert answer["scores"] == pytest.approx(expected.scores.tolist(), rel=1e-5, abs=1e-6)
    assert answer["objectives"] == list(expected.objectives)
    for uri, pixels in zip(answer["pictures"], expected.pixels, strict=True):
        levels = np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
        np.testing.assert_allclose(levels / 255, pixels.movedim(0, -1), atol=1.01 / 255)


def test_verdicts_are_about_the_maps_that_were_shown(client: Client, model: tp.VisionModel) -> None:
    maps = [{"method": "grad_cam"}, {"method": "saliency"}]
    rows = client.run(method="judge", pictures=[client.sample()], maps=maps)["value"]["rows"]
    ready = images(model)
    expected = tp.judge(model, ready, [tp.grad_cam(model, ready), tp.saliency(model, ready)])
    assert [row["outcome"] for row in rows] == [one.outcome for one in expected.each]
    assert [row["method"] for row in rows] == ["grad_cam", "saliency"]


def test_an_answer_is_made_once(client: Client) -> None:
    asked = {"method": "occlusion", "pictures": [client.sample("cat")], "parameters": {"window": 9}}
    first, second = client.run(**asked), client.run(**asked)
    assert first == second  # with its seconds: it was not made again
    other = client.run(**{**asked, "parameters": {"window": 11}})
    assert other["key"] != first["key"]


LITE = "efficientnet_lite0"
ASKED = {
    "grad_cam": {"method": "grad_cam", "target": "cup", "parameters": {"layer": "blocks.4"}},
    "predict": {"method": "predict", "parameters": {"k": 3}},
    "visualize": {"method": "visualize", "units": ["blocks.3:5 - blocks.3:9"], "parameters": {"size": 48, "n_steps": 2}},
    "deletion": {"method": "deletion", "maps": [{"method": "saliency", "target": "cup"}], "parameters": {"n_steps": 4}},
}


@pytest.mark.weights
@pytest.mark.parametrize("name", ASKED)
def test_the_code_of_a_result_gives_its_numbers(client: Client, name: str) -> None:
    """The script is run as it is shown, with the built-in network on the packaged photograph."""
    pictures = [] if "units" in ASKED[name] else [client.sample()]
    answer = client.run(model=LITE, pictures=pictures, **ASKED[name])
    value, names = answer["value"], dict[str, Any]()
    exec(compile(answer["code"]["python"].replace("print(result)", ""), "code", "exec"), names)
    result = names["result"]
    if name == "grad_cam":
        np.testing.assert_allclose(result.heatmap(None)[0], values_of(value["maps"][0]["map"]), rtol=1e-4, atol=1e-7)
    elif name == "predict":
        assert [one.label for one in result[0]] == [one["label"] for one in value["rows"][0]]
    elif name == "visualize":
        assert result.scores.tolist() == pytest.approx(value["scores"], rel=1e-4)
    else:
        assert result.value.tolist() == pytest.approx(value["values"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.weights
def test_the_command_of_a_result_gives_its_numbers(client: Client, tmp_path: Path) -> None:
    """The commands are run as they are shown; their reports hold the same numbers."""
    coffee = [client.sample()]
    maps = client.run(model=LITE, pictures=coffee, **ASKED["grad_cam"])
    run_command(maps["code"]["command"], tmp_path / "maps")
    saved = tp.open(tmp_path / "maps" / "coffee").value
    np.testing.assert_allclose(saved.heatmap(None)[0], values_of(maps["value"]["maps"][0]["map"]), rtol=1e-4, atol=1e-7)
    verdicts = client.run(model=LITE, pictures=coffee, method="judge", maps=[{"method": "grad_cam"}, {"method": "saliency"}])
    run_command(verdicts["code"]["command"], tmp_path / "explained")
    report = json.loads((tmp_path / "explained" / "report.json").read_text("utf-8"))
    told = {one["method"]: one for one in report["images"][0]["attributions"]}
    for row in verdicts["value"]["rows"]:
        verdict = told[row["method"]]["verdict"]
        assert verdict["outcome"] == row["outcome"]
        assert verdict["faithfulness"] == pytest.approx(row["faithfulness"], abs=1e-3)


def run_command(words: str, out: Path) -> None:
    """Runs a command line in this process, as a shell would read it."""
    plain = words.replace("$(python -c 'import skimage; print(skimage.data_dir)')", skimage.data_dir)
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(plain)[1:], "--out", str(out)])
    assert end.value.code == 0


def test_an_export_holds_arrays_pictures_and_code(client: Client, tmp_path: Path) -> None:
    asked = {"model": "tiny", "method": "saliency", "pictures": [client.sample(), client.sample("cat")]}
    answer = client.http.post("api/export", json=asked)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = set(archive.namelist())
        assert {"result/manifest.json", "result/arrays.npz", "code.py", "1-coffee.png", "2-chelsea.png"} <= names
        archive.extractall(str(tmp_path))
    saved = tp.open(f"{tmp_path}/result")
    assert saved.value.method == "saliency"
    assert len(saved.value) == 2


def test_every_method_is_offered_with_its_parameters(client: Client) -> None:
    offered = {one["name"]: one for one in client.http.get("api/methods").json()}
    assert set(offered) == {"predict", "judge", *(one.name for one in tp.methods() if one.kind != "survey")}
    assert offered["rise"]["live"]
    assert offered["visualize"]["live"]
    assert not offered["grad_cam"]["live"]
    numbers = {
        name: (offered[name]["lesson"] or {}).get("number") for name in ("grad_cam", "saliency", "invert", "judge", "lrp")
    }
    assert numbers == {"grad_cam": 9, "saliency": 8, "invert": 15, "judge": 17, "lrp": 11}
    assert offered["grad_cam"]["lesson"]["address"].endswith("/tutorials/09_grad_cam.html")
    window = next(one for one in offered["occlusion"]["parameters"] if one["name"] == "window")
    assert (window["type"], window["default"]) == ("int", None)
    assert all(one["help"] for method in offered.values() for one in method["parameters"])
