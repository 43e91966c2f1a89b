"""The scan against all activations computed one by one, and the same bits however the work is shared out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from zoo import vision_model

import tapetum as tp
from tapetum.data.streams import as_source
from tapetum.engines.scan import FolderLedger, Job, Plan

PICTURES = 45


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small smooth pictures, two of them damaged."""
    place = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for i in range(PICTURES):
        noise = torch.rand(3, 5, 5, generator=generator)
        pixels = torch.nn.functional.interpolate(noise[None], (20, 24), mode="bicubic")[0].clamp(0, 1)
        picture = Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy())
        picture.save(place / f"{i:02d}.{'jpg' if i % 2 else 'png'}")
    (place / "07.jpg").write_bytes(b"this is no picture")
    (place / "31.jpg").write_bytes((place / "31.jpg").read_bytes()[:200])
    return place


def deepest(model: Any) -> list[str]:
    return [layer.name for layer in model.layers() if layer.grid is not None and layer.channels][-2:]


def all_scores(model: Any, folder: Path, layer: str, batch: int) -> tuple[list[str], Tensor]:
    """Every picture's spatial maximum at every unit: read, cut, and passed through the network in the plan's batches."""
    source, rows, ids = as_source(folder), [], []
    for start in range(0, len(source.ids), batch):
        images = []
        for name in source.ids[start : start + batch]:
            try:
                images.append(model.preprocess(tp.read_image(folder / name)))
            except tp.TapetumError:
                continue
            ids.append(name)
        ready = model.laid_out(torch.cat(images))
        with torch.no_grad(), tp.capture(model, [layer]) as acts:
            model(ready)
        rows.append(acts[layer].flatten(2).amax(2))
    return ids, torch.cat(rows)


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("name", ["residual", "functional", "channels_last", "vit_mean"])
def test_spectra_equal_a_sort_of_all_activations(folder: Path, name: str, workers: int) -> None:
    model = vision_model(name)
    for layer in deepest(model):
        result = tp.scan(model, folder, {layer: [tp.Spectrum(k=4)]}, workers=workers, batch=4, shard=8)
        ids, scores = all_scores(model, folder, layer, 4)
        assert set(result.skipped) == {"07.jpg", "31.jpg"}
        assert result.images == len(ids)
        for channel in range(scores.shape[1]):
            pairs = sorted(zip(scores[:, channel].float().tolist(), ids, strict=True))
            spectrum = result[layer][0]
            assert [(one.score, one.id) for one in spectrum.minimum(channel)] == pairs[:4]
            top = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:4]
            assert [(one.score, one.id) for one in spectrum.maximum(channel)] == top
            if spectrum.around(channel) == "zero":
                negative = sorted((p for p in pairs if p[0] < 0), key=lambda pair: (-pair[0], pair[1]))[:4]
                assert [(one.score, one.id) for one in spectrum.slightly_negative(channel)] == negative
                assert [(one.score, one.id) for one in spectrum.slightly_positive(channel)] == [p for p in pairs if p[0] > 0][
                    :4
                ]


def assert_equal_results(a: Any, b: Any) -> None:
    """To the last bit."""
    from tapetum.store import _packed

    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    assert _packed(dict(a.results), first) == _packed(dict(b.results), second)
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    assert a.skipped == b.skipped
    assert a.key == b.key


@pytest.mark.parametrize("pre_activation", [False, True])
def test_vectors_are_units_without_places(folder: Path, pre_activation: bool) -> None:
    model = vision_model("residual")
    layer = next(row.name for row in model.layers() if len(row.shape) == 2)
    result = tp.scan(model, folder, {layer: [tp.TopK(k=3), tp.Positions(count=2)]}, pre_activation=pre_activation)
    assert result.taps[layer] == "output"
    top, positions = result[layer]
    images = [model.preprocess(tp.read_image(folder / name)) for name in result.ids if name not in result.skipped]
    with torch.no_grad(), tp.capture(model, [layer]) as acts:
        model(model.laid_out(torch.cat(images)))
    assert torch.allclose(positions.vectors, acts[layer].float())  # another batch, so other last bits
    for channel in range(top.channels):
        order = acts[layer][:, channel].argsort(descending=True)[:3]
        assert [one.sample for one in top.examples(channel)] == positions.samples[order].tolist()
        assert {one.position for one in top.examples(channel)} == {None}


ATLAS = [tp.Spectrum(k=3), tp.Moments(), tp.Sparsity(), tp.CoActivation(), tp.Scores(), tp.Positions(count=2)]
"""What an atlas asks for."""


@pytest.mark.bits
def test_all_trackers_give_the_same_bits_for_any_workers_and_any_shards(folder: Path, tmp_path: Path) -> None:
    model = vision_model("residual")
    asked: Any = dict.fromkeys(deepest(model), ATLAS)
    one = tp.scan(model, folder, asked, batch=4, shard=8, workers=1)
    assert_equal_results(tp.scan(model, folder, asked, batch=4, shard=8, workers=7, out=tmp_path / "scan"), one)
    assert_equal_results(tp.scan(model, folder, asked, batch=4, shard=8, out=tmp_path / "scan"), one)  # from the disk
    other = tp.scan(model, folder, asked, batch=4, shard=20, workers=2)
    assert_equal_results(replace(other, key=one.key), one)
    layer = deepest(model)[-1]
    ids, scores = all_scores(model, folder, layer, 4)
    _, moments, _, together, table, _ = one[layer]
    assert torch.equal(table.scores, scores.float())
    assert [table.ids[sample] for sample in table.samples.tolist()] == ids
    assert torch.allclose(moments.mean, table.mean, rtol=1e-12)
    assert torch.allclose(moments.sd, table.sd, rtol=1e-9)
    varies = table.sd > 1e-3  # a step is 2^-15 of about one: noise of 1 % of that deviation, over 43 pictures
    expected = torch.corrcoef(table.scores[:, varies].double().T).float()
    assert torch.allclose(together.correlation[varies][:, varies], expected, rtol=0, atol=1e-3)


def test_a_scan_that_was_stopped_goes_on_and_reads_nothing_again(folder: Path, tmp_path: Path) -> None:
    model, layer = vision_model("residual"), deepest(vision_model("residual"))[-1]
    trackers = {layer: [tp.Spectrum(k=3), tp.TopK(k=2)]}
    whole = tp.scan(model, folder, trackers, batch=4, shard=8)

    def stop(event: tp.Progress) -> bool:
        return event.done < 20

    with pytest.raises(tp.Cancelled), tp.watching(stop):
        tp.scan(model, folder, trackers, batch=4, shard=8, out=tmp_path / "scan", workers=1)
    done = FolderLedger(tmp_path / "scan").done()
    assert 0 < len(done) < 6

    class Counting:
        def __init__(self) -> None:
            self.inner, self.read_samples = as_source(folder), []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def read(self, sample: int) -> Tensor:
            self.read_samples.append(sample)
            return self.inner.read(sample)

    source = Counting()
    resumed = tp.scan(model, source, trackers, batch=4, shard=8, out=tmp_path / "scan", workers=2)
    assert not {sample // 8 for sample in source.read_samples} & done
    assert resumed.resumed == sum(len(Plan(PICTURES, 4, 8).samples(shard)) for shard in done)
    assert_equal_results(resumed, whole)


def test_another_model_or_data_set_is_never_served_an_old_scan(folder: Path, tmp_path: Path) -> None:
    model, layer = vision_model("residual"), deepest(vision_model("residual"))[-1]
    tp.scan(model, folder, {layer: tp.TopK()}, out=tmp_path / "scan")
    with torch.no_grad():
        next(model.module.parameters()).add_(1)
    with pytest.raises(tp.TapetumError, match=r"another scan \(weights was .*--no-resume"):
        tp.scan(model, folder, {layer: tp.TopK()}, out=tmp_path / "scan")
    again = tp.scan(model, folder, {layer: tp.TopK()}, out=tmp_path / "scan", resume=False)
    assert_equal_results(again, tp.scan(model, folder, {layer: tp.TopK()}))
    with pytest.raises(tp.TapetumError, match="trackers was"):
        tp.scan(model, folder, {layer: tp.TopK(k=2)}, out=tmp_path / "scan")


class Blows(nn.Module):
    """NaN for bright pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        bright = images.amax((1, 2, 3), keepdim=True) > 0.95
        return self.conv(images.masked_fill(bright, float("nan"))).mean((2, 3))


def test_pictures_that_drive_a_layer_to_nan_are_listed_and_have_no_rank(folder: Path) -> None:
    model = tp.wrap(Blows(), size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    result = tp.scan(model, folder, {"conv": tp.TopK(k=PICTURES)})
    bright = [name for name, why in result.skipped.items() if why == "NaN or infinity at conv"]
    ids = [one.id for one in result["conv"][0].examples(0)]
    assert bright
    assert ids
    assert not set(bright) & set(ids)
    assert len(ids) + len(result.skipped) == PICTURES


def test_threads_and_the_users_model_are_as_before(folder: Path) -> None:
    model = vision_model("in_place")
    model.module.train()
    hooks, threads = [len(part._forward_hooks) for part in model.module.modules()], torch.get_num_threads()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    tp.scan(model, folder, {deepest(model)[0]: tp.TopK()}, workers=2)
    assert torch.get_num_threads() == threads
    assert model.module.training
    assert hooks == [len(part._forward_hooks) for part in model.module.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


def test_what_makes_no_sense_is_refused(folder: Path, tmp_path: Path) -> None:
    model = vision_model("residual")
    layer = deepest(model)[0]
    with pytest.raises(tp.TapetumError, match="no layer 'nowhere'"):
        tp.scan(model, folder, {"nowhere": tp.TopK()})
    with pytest.raises(tp.TapetumError, match="workers must be at least 1"):
        tp.scan(model, folder, {layer: tp.TopK()}, workers=0)
    with pytest.raises(tp.TapetumError, match="whole batches"):
        tp.scan(model, folder, {layer: tp.TopK()}, batch=4, shard=6)
    (tmp_path / "bad.jpg").write_bytes(b"no")
    with pytest.raises(tp.TapetumError, match="none of the 1 pictures"):
        tp.scan(model, tmp_path, {layer: tp.TopK()})
    with pytest.raises(tp.TapetumError, match="has channels 0 to"):
        tp.scan(model, folder, {layer: tp.TopK()})[layer][0].examples(10**6)


def test_progress_counts_every_picture(folder: Path) -> None:
    events: list[tp.Progress] = []
    model = vision_model("residual")
    with tp.watching(events.append):
        tp.scan(model, folder, {deepest(model)[0]: tp.TopK()}, batch=4, shard=8)
    assert events[0].done == 0
    assert events[-1].total == PICTURES
    assert events[-1].unit == "pictures"
    assert events[-1].done == PICTURES  # also those that cannot be read
    assert [e.done for e in events] == sorted(e.done for e in events)


def test_a_job_can_be_pickled_and_works_the_same(folder: Path) -> None:
    import pickle

    model = vision_model("residual")
    layer = deepest(model)[0]
    job = Job(model, as_source(folder), {layer: (tp.TopK(),)}, Plan(PICTURES, 4, 8))
    a, b = job.work(2), pickle.loads(pickle.dumps(job)).work(2)
    assert all(torch.equal(a.states[layer][0][name], b.states[layer][0][name]) for name in a.states[layer][0])


def test_pre_activations_are_scanned_where_a_layer_ends_in_a_relu(folder: Path) -> None:
    model = vision_model("in_place")  # features.2 is a ReLU in place
    plain = tp.scan(model, folder, {"features.2": tp.Spectrum(k=3)}, batch=4, shard=8)
    signed = tp.scan(model, folder, {"features.2": tp.Spectrum(k=3)}, batch=4, shard=8, pre_activation=True)
    assert (plain.taps["features.2"], signed.taps["features.2"]) == ("output", "pre-activation")
    assert plain.key != signed.key
    before = tp.scan(model, folder, {"features.1": tp.Spectrum(k=3)}, batch=4, shard=8)["features.1"][0]
    for channel in range(before.channels):
        spectrum = signed["features.2"][0]
        assert spectrum.minimum(channel) == before.minimum(channel)
        assert spectrum.maximum(channel) == before.maximum(channel)
        assert all(one.score >= 0 for one in plain["features.2"][0].minimum(channel))
