"""What the studio answers is what Python gives."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from asking import Client, tiny, values_of
from PIL import Image
from skimage import data

import tapetum as tp


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


def test_the_code_of_a_result_gives_its_numbers(client: Client) -> None:
    """The script is run as it is shown, by a Python of its own, with the built-in network on the packaged photograph."""
    asked = {"model": "efficientnet_lite0", "method": "grad_cam", "pictures": [client.sample()], "target": "cup"}
    answer = client.run(**asked)
    script = answer["code"]["python"] + "import numpy; numpy.save('/dev/stdout', result.heatmap(None)[0].numpy())"
    script = script.replace("print(result)\n", "").replace("'/dev/stdout'", "__import__('sys').stdout.buffer")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    np.testing.assert_allclose(
        np.load(io.BytesIO(done.stdout)), values_of(answer["value"]["maps"][0]["map"]), rtol=1e-4, atol=1e-7
    )
    assert answer["code"]["command"].startswith("tapetum run grad_cam ")
    assert answer["code"]["command"].endswith("--target cup")


def test_an_export_holds_arrays_pictures_and_code(client: Client, tmp_path: object) -> None:
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
    window = next(one for one in offered["occlusion"]["parameters"] if one["name"] == "window")
    assert (window["type"], window["default"]) == ("int", None)
    assert all(one["help"] for method in offered.values() for one in method["parameters"])
