"""A ranking knows what is better, says what it cannot tell, goes on where it stopped, and its track records are true."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sameness import same

import tapetum as tp
from tapetum.engines.scan import Threads
from tapetum.families.metrics.curves import EVIDENCE
from tapetum.families.rankings.measuring import HIDDEN, drops
from tapetum.types import MethodError, TapetumError

NETWORK = tp.exam_networks(n=12)[0]
METHODS = ("grad_cam", "input_x_gradient", "random_attribution")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    for i, pixels in enumerate(NETWORK.model.denormalize(NETWORK.images)):
        Image.fromarray((pixels.permute(1, 2, 0) * 255).round().byte().numpy()).save(place / f"{i:02d}.png")
    (place / "bad.png").write_text("no picture")
    return place


def numbers(ranking: tp.MethodRanking) -> Any:
    """All of a ranking but the time it took."""
    return {name: value for name, value in vars(ranking).items() if name != "seconds"}


def test_a_ranking_puts_noise_last_and_says_that_two_true_maps_cannot_be_told_apart(folder: Path) -> None:
    ranking = tp.rank_methods(NETWORK.model, folder, methods=METHODS, n=None, workers=1)
    assert ranking.order("insertion")[-1] == 2
    assert ranking.tied("insertion", "grad_cam") == ("input_x_gradient",)
    assert ranking.tied("insertion", "random_attribution") == ()
    assert "cannot be told from" in ranking.said("insertion")
    assert "random_attribution" in ranking.said("insertion")
    assert list(ranking.skipped) == ["bad.png"]
    assert ranking.counted == (12, 12)
    assert (ranking.interval[..., 0] <= ranking.mean).all()
    assert (ranking.mean <= ranking.interval[..., 1]).all()
    torch.testing.assert_close(ranking.ranks.sum(0), torch.full((2,), 6.0, dtype=torch.float64))


def test_values_are_those_of_the_metrics_on_each_picture(folder: Path) -> None:
    ranking = tp.rank_methods(NETWORK.model, folder, methods=["grad_cam"], n=None, workers=1)
    images = torch.cat([NETWORK.model.preprocess(folder / name) for name in ranking.pictures]).double()
    for row, image in enumerate(images[:3]):
        maps = tp.grad_cam(NETWORK.model, image[None])
        for column, name in enumerate(ranking.metrics):
            value = tp.evaluate(NETWORK.model, image[None], maps, [name], **EVIDENCE[name])[name].value
            torch.testing.assert_close(ranking.values[0, column, row], value[0].double())


def test_workers_and_interruptions_change_no_number(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"methods": METHODS, "n": 9, "batch": 2}
    whole = tp.rank_methods(NETWORK.model, folder, workers=1, **given)
    many = tp.rank_methods(NETWORK.model, folder, workers=3, **given)
    assert same(numbers(many), numbers(whole))

    def stop(event: tp.Progress) -> bool:
        return event.unit != "pictures" or event.done < 4

    with tp.watching(stop), pytest.raises(tp.Cancelled):
        tp.rank_methods(NETWORK.model, folder, out=tmp_path / "kept", workers=1, **given)
    done = len(list((tmp_path / "kept" / "shards").glob("*.npz")))
    assert 0 < done < 5
    shards: list[int] = []

    def run(job: Any, todo: Any, tick: Any) -> Any:
        shards.extend(todo)
        yield from Threads(1)(job, todo, tick)

    assert same(numbers(tp.rank_methods(NETWORK.model, folder, out=tmp_path / "kept", run=run, **given)), numbers(whole))
    assert len(shards) == 5 - done
    with pytest.raises(TapetumError, match="another scan"):
        tp.rank_methods(NETWORK.model, folder, out=tmp_path / "kept", **{**given, "methods": METHODS[:2]})


def test_the_cost_is_said_before_the_first_picture(folder: Path) -> None:
    said: list[str | None] = []

    def watch(event: tp.Progress) -> None:
        if event.unit == "pictures":
            said.append(event.stage)

    with tp.watching(watch):
        tp.rank_methods(NETWORK.model, folder, methods=METHODS, n=4)
    assert said[0] is not None
    assert said[0].startswith("4 pictures x 3 methods x 2 metrics: about ")


def test_drawn_pictures_are_those_of_the_seed(folder: Path) -> None:
    first, again, other = (
        tp.rank_methods(NETWORK.model, folder, methods=["edge_attribution"], n=5, seed=seed).pictures for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert list(first) == sorted(first)


def test_a_map_that_promises_what_comes_has_a_full_record() -> None:
    model = tp.wrap(torch.nn.Sequential(torch.nn.Flatten(), _Mean()), size=28, mean=0, std=1, outputs="probabilities")
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    maps = tp.input_x_gradient(model, images, 0)  # a linear probability: hiding takes away what the map says
    deleted = tp.deletion(model, images, maps, cells=14, n_steps=14, fill="zero")
    predicted, measured = drops(maps, deleted)
    torch.testing.assert_close(predicted, measured, atol=1e-5, rtol=0)
    assert predicted.shape == (2, len(HIDDEN))


class _Mean(torch.nn.Module):
    """Probabilities that are linear in the pixels: their mean, and the rest."""

    def forward(self, flat: torch.Tensor) -> torch.Tensor:
        mean = flat.mean(1, keepdim=True)
        return torch.cat([mean, 1 - mean], 1)


def test_a_method_without_numbers_is_named(folder: Path) -> None:
    ranking = tp.rank_methods(NETWORK.model, folder, methods=["grad_cam", "saliency"], n=3, workers=1)
    nothing = torch.full_like(ranking.mean, torch.nan)
    empty = replace(ranking, counted=(0, 0), mean=nothing, ranks=nothing, critical=(math.inf, math.inf), p_values=(1.0, 1.0))
    assert empty.said("deletion") == "deletion: on no picture has every method a number; leave out those that the notes name"


@pytest.mark.usefixtures("unchecked")
def test_refusals_name_what_works(folder: Path) -> None:
    with pytest.raises(MethodError, match="visualize makes no maps"):
        tp.rank_methods(NETWORK.model, folder, methods="visualize")
    with pytest.raises(TapetumError, match="relevance_mass needs masks"):
        tp.rank_methods(NETWORK.model, folder, metrics="relevance_mass")
    with pytest.raises(TapetumError, match="no attention"):
        tp.rank_methods(NETWORK.model, folder, methods="attention_rollout")
    ranking = tp.rank_methods(NETWORK.model, folder, methods="grad_cam", n=3)
    with pytest.raises(MethodError, match="not ranked by 'road'; there are insertion, deletion"):
        ranking.said("road")
    with pytest.raises(TapetumError, match='view="ranks" or "record"'):
        tp.draw(ranking, view="rank")


class _SecondOfTwo:
    """Runner of a process that computes and leaves the result to the first."""

    collects = False

    def __call__(self, job: Any, shards: Any, tick: Any) -> Any:
        self.back = pickle.loads(pickle.dumps(job))  # as another process gets it
        for shard in shards:
            yield self.back.work(shard, tick)


def test_a_process_that_is_not_the_first_gets_an_empty_ranking(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"methods": METHODS, "n": 5}
    ranking = tp.rank_methods(NETWORK.model, folder, run=_SecondOfTwo(), out=tmp_path / "shared", **given)
    assert ranking.pictures == ()
    assert ranking.mean.isnan().all()
    assert "rank 0 has the result" in ranking.notes
    assert str(ranking)
    whole = tp.rank_methods(NETWORK.model, folder, out=tmp_path / "shared", run=_Never(), **given)
    assert same(numbers(whole), numbers(tp.rank_methods(NETWORK.model, folder, workers=1, **given)))


class _Never:
    """Runner that has nothing to do."""

    def __call__(self, job: Any, shards: Any, tick: Any) -> Any:
        assert not shards
        yield from ()


def test_a_point_of_the_record_has_five_pictures_or_none(folder: Path) -> None:
    few = tp.rank_methods(NETWORK.model, folder, methods=["grad_cam"], n=4, workers=1)
    assert few.calibration.isnan().all()
    many = tp.rank_methods(NETWORK.model, folder, methods=["grad_cam"], n=None, workers=1)
    predicted = many.predicted[0]
    for bin_, (mean, measured, low, high) in enumerate(many.calibration[0].tolist()):
        inside = (predicted * 5).floor().clamp(max=4) == bin_
        if int(inside.any(1).sum()) < 5:
            assert math.isnan(measured)
        else:
            assert mean == pytest.approx(float(predicted[inside].mean()))
            assert measured == pytest.approx(float(many.measured[0][inside].mean()))
            assert low <= measured <= high
