"""Figures of decisions, of usual decisions, of overlaps and of parts: what is drawn are the result's numbers and words."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.figures.theme import LIGHT
from tapetum.types.decisions import limit

NAN = float("nan")
HELD = torch.arange(1, 41, dtype=torch.float64) / 40


def decisions() -> tp.Decisions:
    """A usual decision, one beyond all held-out ones, and one of a class that was not learned."""
    usual = torch.stack([HELD, HELD, torch.full_like(HELD, NAN)])
    channels = torch.tensor([[4, 2], [7, 1], [0, 0]])
    differences = torch.tensor([[1.0, -2.0], [6.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    photograph = torch.full((3, 8, 8), 0.5)
    return tp.Decisions(
        ("a.png", "b.png", "c.png"), ("dog", "dog", "cat"), torch.tensor([0.5, 1 / 41, NAN], dtype=torch.float64),
        torch.tensor([0.51, 1.2, NAN], dtype=torch.float64), torch.zeros(3, dtype=torch.long), channels, differences, usual,
        (photograph, photograph, None), layer="last", model="net",
    )  # fmt: skip


def marks(axes: object, marker: str) -> list[float]:
    lines = [line for line in axes.lines if line.get_marker() == marker]  # type: ignore[attr-defined]
    return [float(x) for line in lines for x in line.get_xdata()]


def test_the_least_usual_decision_is_first_beside_the_held_out_ones_and_beyond_the_line() -> None:
    figure = tp.draw(decisions())
    assert figure.title == "Unusual for their class: 1 of 3 decisions of net"
    first, second, third = (figure.axes[i] for i in (1, 4, 7))
    assert [one.get_title("left").split(" ")[0] for one in (first, second, third)] == ["b.png", "a.png", "c.png"]
    assert (marks(first, "D"), marks(second, "D"), marks(third, "D")) == ([1.2], [0.51], [])
    dots = first.collections[0].get_offsets()[:, 0]
    assert sorted(dots.tolist()) == pytest.approx(HELD.tolist())
    (line,) = (one for one in first.lines if one.get_linestyle() == "--")
    assert line.get_xdata()[0] == limit(HELD, 0.05) == 39 / 40  # one may be farther: (1 + 1) / 41 <= .05
    assert "unusual for its class (p = 0.024, farther than 40 of 40" in first.texts[0].get_text()
    assert "too few decisions" in third.texts[0].get_text()
    bars = [patch.get_width() for patch in figure.axes[2].patches]
    assert bars == [6.0, 3.0]


def test_each_class_stands_beside_the_prototypes_of_the_others() -> None:
    found = usual()
    figure = tp.draw(found)
    for row, (one, other) in enumerate(((found[0], found[1]), (found[1], found[0]))):
        strip = figure.axes[2 * row + 1]
        assert one.label in strip.get_title("left")
        assert "100% of decisions for other classes would be unusual" in strip.get_title("left")
        assert marks(strip, "^") == pytest.approx([float(one.distance(other.centres)[0])])
        assert len(strip.collections[0].get_offsets()) == len(one.distances)
        assert figure.axes[2 * row].images
    assert len(tp.draw(found[0]).axes) == 2


def usual() -> tp.Prototypes:
    """Prototypes of a network that answers by red or by green."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[3].weight.copy_(torch.tensor([[1.0, 0, 0.1], [0, 1.0, 0.1]]))
    model = tp.wrap(net.double().eval(), size=4, mean=0.0, std=1.0, outputs="logits", labels=["red", "green"], name="net")
    return tp.prototypes(model, torch.cat([lit((2, 0.2, 0.2), 0), lit((0.2, 2, 0.2), 1)]), "0")


def lit(color: tuple[float, float, float], seed: int) -> Tensor:
    strength = 1 + 0.2 * torch.randn(50, 3, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (strength * torch.tensor(color, dtype=torch.float64)[:, None, None]).expand(-1, -1, 4, 4)


def mask(*kept: int) -> Tensor:
    return torch.tensor(kept) == 1


def test_bars_are_the_overlaps_and_lines_those_by_chance() -> None:
    found = tp.mask_overlap({"a": mask(1, 1, 0, 0), "b": mask(1, 0, 0)}, {"a": mask(0, 1, 1, 0), "b": mask(1, 0, 0)})
    (axes,) = tp.draw(found).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([1 / 3, 1.0])
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(found.expected.tolist())
    assert axes.texts[0].get_text() == f"1 in common of 2 and 2 · p = {float(found.p[0]):.2g}"


def test_what_a_part_keeps_stands_beside_random_parts_and_each_image_beside_the_whole() -> None:
    found = tp.mask_faithfulness(shared("residual"), {"second": torch.arange(8) < 4}, pictures(3), 1, parts=5)
    share, images = tp.draw(found).axes
    assert marks(share, "D") == [found.kept]
    assert sorted(share.collections[0].get_offsets()[:, 0].tolist()) == pytest.approx(sorted(found.random_kept))
    assert marks(images, "D") == found.part.tolist()
    assert marks(images, "o") == found.full.tolist()
    assert {text.get_text() for text in images.get_legend().get_texts()} >= {"whole network", "this part", "random parts"}
    (alone,) = tp.draw(found[0]).axes  # of one image there is no share
    assert marks(alone, "|") == [float(found.empty[0])]
    assert LIGHT.accent in {line.get_color() for line in alone.lines}
