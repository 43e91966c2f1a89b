"""CRAFT: planted parts are found and ranked by closed forms, beside shuffled channels; what is no class is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.compositions.directions import factorize
from tapetum.families.concept_tests.craft import shuffled
from tapetum.families.concept_tests.importance import explained, parts_of, shares_of
from tapetum.types import LayerError, MethodError

SIDE = 12
MIX = torch.tensor([[1.0, 0, 0.5, 0, 0, 0.2], [0, 1.0, 0.5, 0, 0.3, 0], [0, 0, 0, 1.0, 0.3, 0.4]], dtype=torch.float64)
"""Activations of red, green and blue light in six channels."""

HEAD = torch.linalg.pinv(MIX) @ torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
"""Weights of the second logit: it rises by twice the mean of red and falls by that of green."""


class Mixed(nn.Module):
    """Six channels of mixed colours behind a ReLU, a linear head on their means."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.relu, self.head = nn.Conv2d(3, 6, 1, bias=False), nn.ReLU(), nn.Linear(6, 2)
        with torch.no_grad():
            self.mix.weight.copy_(MIX.T[:, :, None, None])
            self.head.weight.copy_(torch.stack([torch.zeros(6), HEAD]))
            self.head.bias.copy_(torch.tensor([0.0, 5.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.relu(self.mix(images)).mean((2, 3)))


def network() -> tp.VisionModel:
    return tp.wrap(Mixed().double().eval(), size=SIDE, mean=0.0, std=1.0, outputs="logits", labels=["no", "yes"], name="mixed")


def patches(n: int, seed: int = 0) -> Tensor:
    """Pictures of sixteen patches, each of one pure colour."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(3, (n, 4, 4), generator=generator)
    bright = 0.5 + torch.rand(n, 1, 4, 4, generator=generator, dtype=torch.float64)
    return (nn.functional.one_hot(which, 3).permute(0, 3, 1, 2) * bright).repeat_interleave(3, 2).repeat_interleave(3, 3)


def found(**settings: object) -> tp.Craft:
    given = {"n": 3, "crops": 12, "crop_share": 0.25, "designs": 256, **settings}
    return tp.craft(network(), patches(12), "yes", "relu", **given)


def test_planted_parts_are_found_and_directions_of_shuffled_channels_are_not_as_good() -> None:
    made = found()
    pure = MIX / MIX.norm(dim=1, keepdim=True)
    likeness = torch.stack([one.unit_vector for one in made.concepts]) @ pure.T
    assert likeness.argmax(1).tolist() == [0, 1, 2]  # red matters most, then green, blue not at all
    assert float(likeness.amax(1).min()) > 0.98
    assert made.beats_chance
    assert made.explained > 0.97 > float(made.null_explained.max())
    assert float(made.effect[0]) > 0 > float(made.effect[1])
    assert abs(float(made.effect[2])) < 0.05
    assert made.p.tolist()[2] > 0.05
    assert len(made.null_effect) == 20 * 3


def test_total_sobol_indices_are_those_of_a_linear_score() -> None:
    model, image = network(), patches(1, seed=3)
    score = tp.as_score(model, image, 1)
    pure = MIX / MIX.norm(dim=1, keepdim=True)
    parts = parts_of(score, image, "relu", pure, pure[None], 4096, 0, "auto")
    means = image.mean((2, 3))[0]
    expected = torch.tensor([2.0, -1.0, 0.0]) * means  # the score is linear: what each colour adds is lost without it
    assert parts.losses.numpy() == pytest.approx(expected.numpy(), abs=2e-3)
    assert parts.null[0].numpy() == pytest.approx(expected.numpy(), abs=2e-3)
    share = expected.square() / expected.square().sum()  # sum_k a_k m_k with m_k even in [0, 1] has the variance sum a_k^2 / 12
    assert parts.totals.numpy() == pytest.approx(share.numpy(), abs=0.01)
    assert parts.maps.sum((1, 2)).numpy() == pytest.approx((image.sum((2, 3))[0] * MIX.norm(dim=1)).numpy(), rel=3e-3)


def test_shares_of_fixed_directions_are_those_of_least_squares_without_negative_numbers() -> None:
    from scipy.optimize import nnls

    directions, values = torch.rand(3, 6, dtype=torch.float64), torch.rand(5, 6, dtype=torch.float64)
    expected = np.stack([nnls(directions.T.numpy(), one.numpy())[0] for one in values])
    assert shares_of(values, directions, 20_000).numpy() == pytest.approx(expected, abs=1e-3)


def test_directions_that_explain_nothing_beyond_the_mean_explain_no_variance() -> None:
    values = torch.rand(200, 5, dtype=torch.float64)
    assert explained(values, torch.eye(5, dtype=torch.float64)) == pytest.approx(1)
    assert explained(values, values.mean(0, keepdim=True)) < 0.25


def test_noise_is_called_concepts_no_more_often_than_one_in_twenty() -> None:
    called = 0
    for seed in range(25):
        generator = torch.Generator().manual_seed(seed)
        pictures = -torch.rand(16, 12, generator=generator, dtype=torch.float64).clamp(min=1e-9).log()
        values = pictures.repeat_interleave(2, 0) + 0.1 * torch.rand(32, 12, generator=generator, dtype=torch.float64)
        half, rest = values[:16], values[16:]
        others = [shuffled(half, 2, generator) for _ in range(20)]
        chance = [explained(rest, factorize(one, 3, seed=1 + i, n_steps=60).directions) for i, one in enumerate(others)]
        called += explained(rest, factorize(half, 3, seed=0, n_steps=60).directions) > max(chance)
    assert called <= 4  # at a rate of 1 / 21, more come in less than 1 % of all cases


class Phases(nn.Module):
    """Twelve channels that nothing ties together: the pixels of four places, three colours; a random linear head."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.split, self.relu, self.head = nn.PixelUnshuffle(2), nn.ReLU(), nn.Linear(12, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(2, 12, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.relu(self.split(images)).mean((2, 3)))


@pytest.mark.slow
def test_of_noise_a_concept_is_said_to_matter_no_more_often_than_one_in_twenty() -> None:
    matters = told = 0
    for seed in range(24):
        generator = torch.Generator().manual_seed(seed)
        strength = -torch.rand(12, 12, 1, 1, generator=generator, dtype=torch.float64).clamp(min=1e-9).log()
        maps = strength * (0.5 + torch.rand(12, 12, 2, 2, generator=generator, dtype=torch.float64))
        model = tp.wrap(Phases(generator).double().eval(), size=4, mean=0.0, std=1.0, outputs="logits", name="phases")
        images = nn.functional.pixel_shuffle(maps, 2)
        made = tp.craft(model, images, 1, "relu", n=2, crops=1, crop_share=1.0, designs=2, keep="all", seed=seed)
        matters += bool((made.p <= made.level).any())
        told += made.beats_chance and bool((made.p <= made.level).any())
    assert matters <= 4  # at a rate of 1 / 21, more come in less than 1 % of all cases
    assert told <= 2


def test_the_verdict_names_what_the_concepts_are_no_better_than() -> None:
    made = found(crops=2, designs=2)
    for explains, said in ((-0.3, "directions of shuffled channels"), (-0.1, "the mean of the pictures")):
        one = replace(made, explained=explains, null_explained=torch.tensor([-0.4, -0.2], dtype=torch.float64))
        assert one.verdict.startswith(f"no better than {said}: they explain {explains:.2f} ")


def test_levels_that_the_shufflings_cannot_reach_are_said() -> None:
    made = found(crops=2, designs=2, level=0.01)
    assert "with 20 shufflings p is at least 0.049, so nothing can count at level 0.01" in " ".join(made.notes)
    assert float(made.p.min()) == pytest.approx(3 / 61)
    more = found(crops=2, designs=2, level=0.04, shufflings=25)
    assert (len(more.null_effect), more.notes) == (75, ())


def test_shuffling_keeps_the_values_of_each_channel_and_the_crops_of_a_picture_together() -> None:
    values = torch.arange(24.0, dtype=torch.float64).reshape(6, 4)
    mixed = shuffled(values, 2, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.sort(0).values, values)
    assert torch.equal(mixed[1::2] - mixed[::2], values[1::2] - values[::2])
    assert not torch.equal(mixed, values)


def test_pictures_are_those_that_the_model_takes_for_the_class() -> None:
    bright = patches(12)
    bright[:5] = torch.tensor([0.0, 9.0, 0.0], dtype=torch.float64)[:, None, None]  # green alone: the model says no
    made = tp.craft(network(), bright, "yes", "relu", n=2, crops=4, designs=2)
    assert made.pictures == tuple(f"image {i}" for i in range(5, 12))
    assert made.notes[0].startswith("7 of 12 pictures are used")
    assert made[0].layer == "relu"
    assert tp.as_score(network(), bright, made[0])(bright).shape == (12,)


def test_the_same_seed_gives_the_same_concepts() -> None:
    a, b, c = (found(crops=2, designs=2, seed=seed) for seed in (1, 1, 2))
    assert str(a) == str(b)
    assert str(a) != str(c)


@pytest.mark.usefixtures("unchecked")
def test_what_has_no_parts_is_refused_in_one_line() -> None:
    model, images = network(), patches(6)
    with pytest.raises(MethodError, match="a number from 2 to 100, not 1"):
        tp.craft(model, images, 1, "relu", n=1)
    with pytest.raises(LayerError, match="name a layer after a ReLU"):
        tp.craft(model, images - 2, 1, "mix", n=2, keep="all")
    with pytest.raises(MethodError, match="3 of 3 pictures"):
        tp.craft(model, images[:3], 1, "relu", n=2)
    with pytest.raises(MethodError, match='say keep="all"'):
        tp.craft(model, images, tp.contrast(0, 1), "relu", n=2)
