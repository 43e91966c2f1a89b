"""`tapetum attack`: strips, attacked pictures that the model reads as they are, and the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from PIL import Image

import tapetum as tp
from tapetum.data.images import read_image


def test_it_writes_strips_pictures_arrays_and_numbers(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"\x89PNG no picture")
    words = ["attack", "cat.png", "white.png", "broken.png", "--eps", "4/255,64/255", "--n-steps", "3"]
    answer = tapetum(*words, "--model", "net.py:build", "--out", "out")
    assert answer.status == 1
    assert "broken.png" in answer.err
    model = tp.load("net.py:build")
    expected = tp.pgd(model, ["cat.png", "white.png"], eps=["4/255", "64/255"], n_steps=3)
    saved = tp.open(place / "out" / "attack").value
    assert torch.equal(saved.pixels, expected.pixels)
    assert tp.open(place / "out" / "disturbance").change.shape[0] == 2
    report = json.loads((place / "out" / "report.json").read_text())
    assert report["eps"] == [4 / 255, 64 / 255]
    assert report["rate"] == expected.rate.tolist()
    assert report["refused"][0]["file"] == "broken.png"
    assert report["layers"]
    rows = [image for image in report["images"] if "file" in image]
    for i, row in enumerate(rows):
        assert row["before"] == expected.before[i]
        with Image.open(place / "out" / row["picture"]) as strip:
            assert json.loads(strip.info["tapetum"])["row"] == i
        answered = tp.predict(model, place / "out" / row["attacked"], k=1)[0][0].label
        assert answered == row["attacked_file"]["answer"]
        assert row["attacked_file"]["same_as_attacked"] == (answered == expected.labels[i])
    assert tapetum(*words, "--model", "net.py:build", "--out", "out").status == 1  # an earlier report is replaced


@pytest.mark.parametrize("size", [(60, 80), (300, 40)])
@pytest.mark.parametrize("resize", [40, 32, "crop", "squash"])
def test_the_models_own_preprocessing_cuts_the_attacked_pixels_out_of_the_file(
    resize: int | str, size: tuple[int, int]
) -> None:
    """To half a grey level, whatever the model does to photographs."""
    from tapetum.data.images import to_uint8
    from tapetum.families.attacks.files import picture_for_file

    photo = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    for channels in (3, 1):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 32 * 32, 3))
        model = tp.wrap(net, size=32, resize=resize, mean=(0.5,) * channels, std=(0.2,) * channels)
        attack = tp.fgsm(model, model.preprocess(photo), eps=0.1)
        file = to_uint8(picture_for_file(model, photo, attack.pixels[0]))
        torch.testing.assert_close(model.preprocess(file), attack.images, rtol=0, atol=0.51 / 255 / 0.2)


def test_options_of_another_method_and_wrong_budgets_are_refused(tapetum: CommandLine, place: Path) -> None:
    for words, said in (
        (["--method", "fgsm", "--n-steps", "3"], "fgsm has no parameter 'n_steps'"),
        (["--eps", "much"], "eps is a number from 0 up"),
        (["--eps", "4"], "4/255 is '4/255'"),
        (["--target", "unicorn"], "unicorn"),
    ):
        answer = tapetum("attack", "cat.png", "--model", "net.py:build", "--out", "out", *words)
        assert answer.status == 2
        assert said in answer.err
        assert len(answer.err.strip().splitlines()) <= 2
        assert not (place / "out").exists()
    answer = tapetum("attack", "cat.png", "--method", "deep_fool", "--model", "net.py:build", "--out", "out", "--target", "dog")
    assert answer.status == 0
    assert "no limit" in answer.out
    assert read_image(place / "out" / "cat-attacked.png").shape[1] == 3
