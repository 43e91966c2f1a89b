"""Claims about patches: made to the right weights alone, taken back to the last bit, kept in a file that is checked."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

import tapetum as tp
from tapetum.models.patches import KEY, Patch, copy_of, is_patch, made


def small(seed: int = 0) -> tp.VisionModel:
    return tp.load("simple_cnn", weights="random", seed=seed)


@pytest.fixture(scope="module")
def both() -> tuple[tp.VisionModel, tp.VisionModel, Patch]:
    model = small()
    edited = copy_of(model)
    with torch.no_grad():
        edited.module.classifier.weight[3] *= 0.1
        edited.module.classifier.bias[3] = -0.0
        edited.module.features[0][0].weight[5] += 1e-3
    return model, edited, made(model, edited, "two rows", {"cue": "border"})


def bits(model: tp.VisionModel) -> list[list[int]]:
    return [one.detach().reshape(-1).view(torch.uint8).tolist() for one in model.module.state_dict().values()]


def test_a_patch_holds_the_changed_rows_alone(both) -> None:
    _, _, patch = both
    assert {name: rows.tolist() for name, rows in patch.rows.items()} == {
        "classifier.weight": [3], "classifier.bias": [3], "features.0.0.weight": [5],
    }  # fmt: skip
    assert "two rows" in str(patch)


def test_it_is_made_and_taken_back_to_the_last_bit(both) -> None:
    model, edited, patch = both
    before = bits(model)
    assert bits(patch.apply(model)) == bits(edited)
    assert bits(patch.take_back(patch.apply(model))) == before
    assert bits(model) == before  # the user's own is never changed


def test_other_weights_are_refused_in_one_line(both) -> None:
    model, edited, patch = both
    for wrong, call in ((small(1), patch.apply), (edited, patch.apply), (model, patch.take_back)):
        with pytest.raises(tp.TapetumError, match="patch of simple_cnn") as caught:
            call(wrong)
        assert "\n" not in str(caught.value)


def test_a_file_gives_the_same_patch(both, tmp_path) -> None:
    model, edited, patch = both
    file = patch.write(tmp_path / "patch.safetensors")
    assert is_patch(file)
    again = Patch.read(file)
    assert again.made_from == {"cue": "border"}
    assert bits(again.apply(model)) == bits(edited)


def test_load_takes_a_patch_in_place_of_weights(both, tmp_path) -> None:
    folder = tmp_path / "net"
    history = tp.train((torch.rand(8, 3, 16, 16), torch.arange(8) % 2), epochs=1, out=folder)
    model = tp.load(str(folder))
    edited = copy_of(model)
    with torch.no_grad():
        edited.module.classifier.bias[0] += 1
    file = made(model, edited, "a bias", {}).write(tmp_path / "patch.safetensors")
    loaded = tp.load(str(folder), weights=file)
    assert bits(loaded) == bits(edited)
    assert loaded.weights == str(file)
    assert bits(tp.load(loaded.source, weights=loaded.weights)) == bits(edited)
    assert history.model.name == loaded.name
    with pytest.raises(tp.TapetumError, match="other weights"):
        tp.load("simple_cnn", weights=file)


def test_damaged_files_are_refused(both, tmp_path) -> None:
    patch = both[2]
    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    assert not is_patch(plain)
    assert not is_patch(tmp_path / "none.safetensors")
    with pytest.raises(tp.TapetumError, match="no patch"):
        Patch.read(plain)
    whole = patch.write(tmp_path / "patch.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(tp.TapetumError, match="no readable patch"):
        Patch.read(tmp_path / "cut.safetensors")
    about = {"model": "x", "source": "x", "weights_sha256": "0", "patched_sha256": "0", "words": "", "made_from": {}}
    wrong = {"w/rows": torch.tensor([7]), "w/before": torch.zeros(2), "w/after": torch.zeros(2)}
    save_file(wrong, tmp_path / "wrong.safetensors", {KEY: json.dumps(about)})
    with pytest.raises(tp.TapetumError, match="damaged"):
        Patch.read(tmp_path / "wrong.safetensors")
    save_file({"w/rows": torch.tensor([7])}, tmp_path / "bare.safetensors", {KEY: "[]"})
    with pytest.raises(tp.TapetumError, match="damaged"):
        Patch.read(tmp_path / "bare.safetensors")


def test_rows_that_the_model_lacks_are_refused(both) -> None:
    model, _, patch = both
    far = {name: rows + 1000 for name, rows in patch.rows.items()}
    with pytest.raises(tp.TapetumError, match="does not fit the model"):
        Patch(*(getattr(patch, key) for key in ("model", "source", "weights_sha256", "patched_sha256", "words")), far,
              patch.before, patch.after).apply(model)  # fmt: skip
