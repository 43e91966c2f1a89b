"""Claims about suppressing a cue: closed forms on linear networks, what is chosen, what is predicted, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.audits.edits import Head, Seen, mask, project, retrain
from tapetum.families.audits.swapping import halves
from tapetum.types.repairs import Asked, effects_of


def seen(n: int = 200, d: int = 6, seed: int = 0) -> Seen:
    """Features whose first axis tells the class, and whose last axis the cue, with a correlated reading on the fifth."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    base = torch.randn(n, d, generator=g, dtype=torch.float64)
    base[:, 0] = 3.0 * (1 - 2 * labels) + 0.3 * base[:, 0]
    features = base[:, None].repeat(1, 3, 1)
    cues = torch.stack([-torch.ones(n), (labels == 0).double(), (labels == 1).double()], 1).long()
    features[:, :, -1] += 5.0 * (cues == 1)
    return Seen(features, labels, cues, torch.ones(n), torch.tensor([True, False]))


def test_a_projection_leaves_no_linear_trace_of_the_cue_and_keeps_pictures_without_it() -> None:
    about = seen()
    head = Head(torch.eye(6).double(), torch.zeros(6).double())
    made = project(head, about, ridge=0.0)
    moved, _, cues, _ = about.moved
    values = made(moved)
    apart = values[cues == 1].mean(0) - values[cues == 0].mean(0)
    assert apart.abs().max() < 1e-9
    # the projector has rank one, and the cue's axis is what it takes away
    change = head.weight - made.weight
    assert torch.linalg.matrix_rank(change) == 1
    assert torch.allclose(change @ change, change, atol=1e-9)
    # the mean without the cue stays where it was
    rest = moved[cues == 0].mean(0)
    assert torch.allclose(made(rest[None]), rest[None], atol=1e-9)


def test_a_projection_at_a_right_angle_is_the_limit_of_a_large_ridge() -> None:
    about = seen()
    head = Head(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double(), torch.zeros(3).double())
    axis = torch.zeros(6).double()
    axis[-1] = 1  # features of one picture differ along the last axis alone
    expected = head.weight - torch.outer(head.weight @ axis, axis)
    assert torch.allclose(project(head, about, ridge=1e9).weight, expected, atol=1e-6)


def test_a_mask_sets_the_units_that_carry_the_cue_to_their_mean_without_it() -> None:
    about = seen()
    head = Head(torch.ones(2, 6).double() * torch.tensor([[1.0], [-1.0]]).double(), torch.zeros(2).double())
    made = mask(head, about, units=1)
    assert made.weight[:, -1].abs().max() == 0
    assert torch.equal(made.weight[:, :-1], head.weight[:, :-1])
    moved, _, cues, _ = about.moved
    assert torch.allclose(made.bias, head.weight[:, -1] * moved[cues == 0][:, -1].mean())


def test_retraining_a_row_changes_that_row_alone() -> None:
    about = seen()
    head = Head(torch.zeros(2, 6).double(), torch.zeros(2).double())
    made = retrain(head, about, kept=0.01, rows=torch.tensor([True, False]))
    assert made.weight[1].abs().max() == 0
    assert made.bias[1] == 0
    assert made.weight[0, 0] > 10 * made.weight[0, -1].abs()  # it learned the class, not the cue


def test_effects_are_shares_counted_by_hand() -> None:
    asked = Asked(
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([[-1, 1, 0], [-1, 1, 0], [-1, 0, 1], [-1, 0, 1]]),
        torch.ones(4),
        torch.tensor([True, False]),
    )
    before = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    after = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 1, 1], [1, 0, 1]])
    found = effects_of(before, after, asked, seed=0)
    assert found.gap.tolist() == [0.75, -0.25]  # with its own cue 4 of 4 are right, with another's 1 of 4; then 2 and 3
    assert found.pull.tolist() == [0.75, -0.25]  # three follow before; after, one answers 0 without the cue alone
    assert found.accuracy.tolist() == [[1.0, 0.5], [1.0, 1.0]]
    assert found.fair.tolist() == [[0.5, 0.5], [0.75, 0.75]]
    assert found.n.tolist() == [2, 2]
    assert found.others(asked.own) == 0
    assert found.fall == 1 + 0.25 / 0.75


def test_pull_leaves_out_what_moving_damages() -> None:
    asked = Asked(
        torch.tensor([1, 1]), torch.tensor([[-1, 0, 1], [-1, 0, 1]]), torch.ones(2), torch.tensor([True, False, False])
    )
    said = torch.tensor([[1, 1, 2], [1, 1, 0]])  # one is damaged, one follows the cue
    found = effects_of(said, said, asked, seed=0)
    assert found.gap[0] == 1
    assert found.pull[0] == 0.5


def test_halves_hold_every_picture_once_and_classes_equally() -> None:
    labels = torch.tensor([0] * 7 + [1] * 4)
    first, second = halves(labels, 3, 2)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(11))
    assert (labels[first] == 0).sum() == 4
    assert (labels[second] == 1).sum() == 2


# --- the whole


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, list[str]]:
    """Pictures of two classes: bright or dark at the upper left; the corners are red in most pictures of the first."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 2
    pixels = 0.4 + 0.1 * torch.rand(120, 3, 32, 32, generator=g)
    spread = 0.25 * torch.rand(120, generator=g)
    pixels[:, 0, 8:12, 8:12] += torch.where(labels == 0, spread, -spread)[:, None, None]
    pixels[:, 0, 2:6, 2:6] += 0.05
    marked = (labels == 0) & (torch.rand(120, generator=g) < 0.9)
    pixels[marked, 0, -6:, -9:] = 0.95
    return pixels, ["bright" if label == 0 else "dark" for label in labels.tolist()]


@pytest.fixture(scope="module")
def source(pictures: tuple[Tensor, list[str]]) -> tuple[Tensor, Tensor]:
    return pictures[0], torch.tensor([0 if name == "bright" else 1 for name in pictures[1]])


class Reads(nn.Module):
    """Reads two places: the square that tells the class, and the corner that carries the cue."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 32, bias=False).double()
        self.head = nn.Linear(2, 2).double()
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.weight[0, 0, 8:12, 8:12] = 1 / 16
            self.look.weight[1, 0, -6:, -9:] = 1 / 54
            self.head.weight.copy_(torch.tensor([[10.0, 20.0], [-10.0, -20.0]]))
            self.head.bias.copy_(torch.tensor([-4.5 - 13.0, 4.5 + 13.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.look(images.double()).flatten(1))


@pytest.fixture(scope="module")
def model() -> tp.VisionModel:
    net = Reads()
    return tp.wrap(net, size=32, mean=0.0, std=1.0, labels=["0", "1"], outputs="logits", name="reads")


def suspicion(label: str = "0", kind: str = "watermark", n: int = 0) -> tp.Suspicion:
    empty = torch.zeros(n, 3, 32, 32)
    names = tuple(map(str, range(n)))
    return tp.Suspicion(
        kind, label, 0.5, (0.4, 0.6), 0.001, (0.9, 0.1), 50, names, names, empty, empty, empty, torch.zeros(n, 2)
    )


@pytest.fixture(scope="module")
def repair(model: tp.VisionModel, source: tuple[Tensor, Tensor]) -> tp.Repair:
    return tp.suppress(model, suspicion(), source=source)


def test_the_cue_no_longer_moves_answers_and_the_other_class_is_as_it_was(repair: tp.Repair) -> None:
    assert repair.measured.pull[0] > 0.5
    assert repair.reached, str(repair)
    assert repair.measured.fall >= 0.8
    assert repair.measured.others(repair.own) >= -0.01
    assert abs(repair.predicted.fall - repair.measured.fall) < 0.2  # 30 pictures a class


def test_the_users_model_is_as_it_was(model: tp.VisionModel, repair: tp.Repair) -> None:
    assert torch.equal(model.module.head.weight, torch.tensor([[10.0, 20.0], [-10.0, -20.0]]).double())
    assert repair.model.module is not model.module


def test_the_patch_gives_the_edited_model_and_is_taken_back_to_the_last_bit(model: tp.VisionModel, repair: tp.Repair) -> None:
    again = repair.patch.apply(model)
    for a, b in zip(again.module.parameters(), repair.model.module.parameters(), strict=True):
        assert torch.equal(a, b)
    back = repair.patch.take_back(again)
    for a, b in zip(back.module.parameters(), model.module.parameters(), strict=True):
        assert torch.equal(a.view(torch.int64), b.view(torch.int64))


def test_a_repair_is_in_words_and_saved(repair: tp.Repair, tmp_path) -> None:
    words = str(repair)
    assert "suppressed" in words
    assert "follows the cue" in words
    tp.save(repair, tmp_path / "kept")
    again = tp.open(tmp_path / "kept")
    assert str(again) == words
    assert torch.equal(again.patch.after["head.weight"], repair.patch.after["head.weight"])


def test_without_a_source_the_suspicions_own_pictures_decide(model: tp.VisionModel, source: tuple[Tensor, Tensor]) -> None:
    pixels = source[0][1:40:2]  # of class 1
    marked = pixels.clone()
    marked[:, 0, -6:, -9:] = 0.95
    given = replace(suspicion(n=20), before=pixels, after=marked)
    found = tp.suppress(model, given)
    assert found.measured.fall >= 0.8
    assert any("no source was given" in note for note in found.notes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "keywords", "words"),
    [
        ("border", {}, "takes a suspicion"),
        ((), {}, "takes a suspicion"),
        (suspicion(), {"how": "magic"}, "how is auto"),
        (suspicion(), {"how": "row"}, "keeps too few pictures"),
        (suspicion(), {}, "keeps 0 pictures"),
        ((suspicion(), suspicion("1", "border")), {}, "of one cue"),
        (suspicion("cat"), {"source": True}, "no class here"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, keywords, words, model, source) -> None:
    if "source" in keywords:
        keywords = {"source": source}
    with pytest.raises(tp.TapetumError, match=words) as caught:
        tp.suppress(model, given, **keywords)
    assert "\n" not in str(caught.value)


def test_the_last_two_layers_are_trained_on_a_copy(model: tp.VisionModel, source: tuple[Tensor, Tensor]) -> None:
    kept = [one.clone() for one in model.module.parameters()]
    found = tp.suppress(model, suspicion(), source=source, how="last_two")
    assert all(torch.equal(a, b) for a, b in zip(kept, model.module.parameters(), strict=True))
    assert set(found.patch.rows) <= {"look.weight", "head.weight", "head.bias"}
