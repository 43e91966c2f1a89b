"""What can be trained on, how it is cut in two, and what the network gets to see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stripes import SIDE, folder_of, noisy, settings, stripes
from torch.utils.data import Dataset

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.training import train
from tapetum.training.data import Subset, read_data
from tapetum.training.pictures import Photographs, batch_orders
from tapetum.types import ImageError, ModelError, TapetumError, TrainingError


class Pairs(Dataset[Any]):
    """A torch data set of arrays (h, w, 3) and numbers."""

    classes = ("lying", "upright")

    def __len__(self) -> int:
        return 10

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return (stripes(10)[0][i].permute(1, 2, 0) * 255).byte().numpy(), i % 2


def ids(part: Subset) -> list[str]:
    return [part.id(row) for row in range(len(part))]


# --- the cut


def test_a_fifth_of_each_class_is_held_out_and_the_seed_decides_which() -> None:
    data = torch.zeros(50, 3, 8, 8), ["a"] * 40 + ["b"] * 10
    parts = read_data(data)
    assert torch.bincount(parts.validation.labels).tolist() == [8, 2]
    assert sorted(ids(parts.train) + ids(parts.validation)) == [f"{i:02d}" for i in range(50)]
    assert ids(read_data(data).validation) == ids(parts.validation) != ids(read_data(data, seed=1).validation)


def test_more_pictures_of_one_class_do_not_move_those_of_another() -> None:
    few, more = (read_data((torch.zeros(20 + n, 3, 8, 8), ["a"] * 20 + ["b"] * n)) for n in (10, 25))
    assert [one for one in ids(few.validation) if int(one) < 20] == [one for one in ids(more.validation) if int(one) < 20]


def test_folders_called_train_and_val_are_the_parts(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", 8)
    folder_of(tmp_path / "val", 4)
    folder_of(tmp_path / "test", 6)
    parts = read_data(tmp_path)
    assert (len(parts.train), len(parts.validation)) == (8, 4)
    assert all(one.startswith("val/") for one in ids(parts.validation))
    assert parts.notes == ("6 pictures outside train and val/valid/validation are left alone",)


def test_a_data_set_of_its_own_may_be_held_out(tmp_path: Path) -> None:
    parts = read_data(stripes(6), validation=folder_of(tmp_path, 4))
    assert (len(parts.train), len(parts.validation), parts.classes) == (6, 4, ("lying", "upright"))
    with pytest.raises(ImageError, match="class 'c' that is not among a, b"):
        read_data((torch.zeros(4, 3, 8, 8), ["a", "a", "b", "b"]), validation=(torch.zeros(2, 3, 8, 8), ["a", "c"]))


def test_a_torch_data_set_a_folder_and_a_pair_give_the_same_pictures(tmp_path: Path) -> None:
    pair, data_set = read_data(stripes(10)), read_data(Pairs())
    assert data_set.classes == pair.classes
    assert data_set.validation.labels.tolist() == pair.validation.labels.tolist()
    for row in range(8):
        levels = (pair.train.read(row) * 255).byte()
        assert torch.equal((data_set.train.read(row) * 255).round().byte(), levels)
    folder = read_data(folder_of(tmp_path, 10))
    assert sorted(ids(folder.train) + ids(folder.validation))[:2] == ["lying/0.png", "lying/2.png"]


def test_numbers_name_classes_by_their_place() -> None:
    parts = read_data((torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 2, 2])), validation=0.5)
    assert parts.classes == ("0", "1", "2")
    assert parts.train.labels.tolist() == [0, 2]


REFUSED = [
    ((torch.zeros(4, 3, 8, 8), ["a"] * 4), "has one class, a"),
    ((torch.zeros(4, 3, 8, 8), ["a"] * 3), "4 pictures and 3 labels"),
    ((torch.zeros(2, 3, 8, 8), ["a", "b"]), "at least two of a class"),
    ((torch.zeros(4, 8, 8), ["a"] * 4), r"not \(4, 8, 8\)"),
    ((torch.zeros(4, 3, 8, 8), [-1, 0, 0, 1]), "classes count from 0"),
    ("nowhere/at/all", "no such folder or file"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED)
def test_data_without_classes_is_refused(data: Any, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        read_data(data)


@pytest.mark.parametrize(("keywords", "why"), [
    ({"epochs": 0}, "epochs is a whole number from 1 on"),
    ({"learning_rate": 0.0}, "learning_rate is a number above 0"),
    ({"validation": 1.5}, "a share between 0 and 1"),
    ({"batch": 0}, "batch is a whole number"),
    ({"patience": 0}, "patience is a whole number"),
])  # fmt: skip
def test_wrong_settings_are_refused(keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(TapetumError, match=why):
        train(stripes(8), **settings(**keywords))


def test_a_network_with_other_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match="gives 2 values and the data has 3 classes"):
        train((torch.zeros(6, 3, 8, 8), [0, 0, 1, 1, 2, 2]), noisy())


def test_a_loss_that_becomes_nan_is_refused_and_says_what_helps() -> None:
    with pytest.raises(TrainingError, match=r"the loss became .* in batch \d+ of epoch 1.*learning_rate below 1e\+30"):
        train(stripes(12), **settings(learning_rate=1e30))


# --- pictures that cannot be read


def test_pictures_that_cannot_be_read_are_left_out_and_listed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 12)
    (folder / "lying" / "0.png").write_bytes(b"no picture")
    (folder / "upright" / "3.png").write_bytes((folder / "upright" / "1.png").read_bytes()[:60])
    Path(folder / "loose.png").write_bytes((folder / "upright" / "1.png").read_bytes())
    history = train(folder, **settings(epochs=1))
    assert [name for name, _ in history.skipped] == ["loose.png", "lying/0.png", "upright/3.png"]
    assert "class folder" in history.skipped[0][1]
    assert any("3 pictures were left out" in note for note in history.notes)


# --- what the network sees


def photographs(augment: Any, cut: Preprocessing, keep_bytes: int = 10**9) -> Photographs:
    part = read_data(stripes(12), validation=stripes(4)).train
    return Photographs(part, cut, augment, 0, keep_bytes)


def test_held_out_pictures_are_what_the_model_preprocesses() -> None:
    cut = Preprocessing((14, 14), 16, "bilinear", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    ((images, _),) = photographs("crop", cut).batches([torch.arange(12)], None)
    # 8 bits a colour: half a level, over the smallest std
    assert torch.allclose(images, cut(stripes(12)[0]), atol=0.51 / 255 / 0.2)


def test_changes_are_mirrors_and_shifts_of_the_picture_and_do_not_depend_on_the_batch() -> None:
    cut = Preprocessing((14, 14), 16, "bilinear", (0.0,) * 3, (1.0,) * 3)
    both = [photographs("crop", cut).batches(orders, 5) for orders in ([torch.arange(12)], torch.arange(12).split(5))]
    whole, pieces = (torch.cat([images for images, _ in batches]) for batches in both)
    assert torch.equal(whole, pieces)
    others = torch.cat([images for images, _ in photographs("crop", cut).batches([torch.arange(12)], 6)])
    assert not torch.equal(whole, others)
    pixels = ((stripes(12)[0] * 255).round() / 255).clamp(0, 1)
    for one, picture in zip(whole, pixels, strict=True):
        places = [picture[:, y : y + 14, x : x + 14] for y in range(3) for x in range(3)]
        mirrored = [picture.flip(-1)[:, y : y + 14, x : x + 14] for y in range(3) for x in range(3)]
        assert any(torch.allclose(one, place, atol=1e-6) for place in places + mirrored)  # a division by 255


def test_pictures_that_are_not_larger_are_continued_by_a_mirrored_edge() -> None:
    cut = Preprocessing((SIDE, SIDE), SIDE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    ((images, _),) = photographs("crop", cut).batches([torch.arange(12)], 1)
    pixels = (stripes(12)[0] * 255).round() / 255
    wide = torch.nn.functional.pad(torch.cat([pixels, pixels.flip(-1)]), (2, 2, 2, 2), mode="reflect")
    squares = torch.stack([wide[..., y : y + SIDE, x : x + SIDE] for y in range(5) for x in range(5)])
    for i, one in enumerate(images):
        near = (squares[:, [i, i + 12]] - one).abs().amax((2, 3, 4))
        assert near.min() < 1e-6  # a division by 255


def test_no_batch_has_one_picture_and_all_come_once() -> None:
    orders = batch_orders(11, 5)
    assert [len(rows) for rows in orders] == [5, 6]
    shuffled = torch.cat(batch_orders(11, 5, torch.Generator().manual_seed(0)))
    assert sorted(shuffled.tolist()) == list(range(11))
    assert shuffled.tolist() != list(range(11))


def test_small_pictures_stay_whole_and_photographs_are_cut() -> None:
    small = train(stripes(8), epochs=1).model.preprocessing
    assert (small.size, small.resize) == ((32, 32), 32)
    noise = np.random.default_rng(0).integers(0, 255, (8, 3, 90, 150), dtype=np.uint8)
    tall = train((torch.from_numpy(noise), ["a", "b"] * 4), epochs=1).model.preprocessing
    assert (tall.size, tall.resize) == ((90, 90), 103)
    assert tp.wrap(noisy().module, size=90).preprocessing.resize == "crop"
