"""Laws that every kind of result obeys: rows as of a list, words, one line, a picture; kept in files and by pickle."""

from __future__ import annotations

import functools
import importlib
import itertools
import pickle
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_inspection_laws
import test_rendering_laws
import torch
from cheats import accused
from PIL import Image
from sameness import same
from torch import nn
from zoo import SIDE, pictures, shared

import tapetum as tp
from tapetum.engines.scan import trackers as kept
from tapetum.types import Result, ScanResult, SpectrumResult, Study, TapetumError, TopKResult
from tapetum.types.audits import RelevanceCluster
from tapetum.types.results import kinds

KINDS = sorted((kind for kind in set(kinds.values()) if issubclass(kind, Result)), key=lambda kind: kind.__name__)
NET = "residual"
LINE = 2000
"""Letters: more than any `repr` has."""


def made(folder: Path) -> Iterator[Any]:
    """Results of all functions that give some, at small settings."""
    model, images = shared(NET), pictures(3)
    for method in test_inspection_laws.METHODS:
        yield test_inspection_laws.asked(method, model, NET)
    for method in ("visualize", "information_by_depth", "filter_specialization"):
        yield test_rendering_laws.usual(method, NET)
    drawn = tp.visualize(model, ["first.one:0", "first.one:1"], size=SIDE, n_steps=1)
    yield Study(drawn.pixels, drawn.scores, drawn.objectives, drawn.status, photographs=pictures(1), layers=("first", "second"))
    yield from repaired()
    run = tp.run("grad_cam", model, images, target=[1, 2, 3])
    mask = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    mask[:, 3:9, 4:12] = True
    yield run, tp.evaluate(model, images, run.value, n_steps=2), tp.relevance_mass(run.value, mask)
    yield tp.compare_maps(model, images, [run.value, tp.saliency(model, images, [1, 2, 3])])
    yield tp.sanity_check(model, images, "saliency, grad_cam", seeds=2, steps=2)
    yield tp.doctor(model, images)
    attack = tp.fgsm(model, images, eps=0.3)
    yield tp.disturbance(model, images, attack, draws=2, frames=2), tp.shortest_repair(model, images, attack, draws=2)
    yield tp.circuit(model, 1, images, edges=3, fan_in=2), tp.expanded_weights(model, "first.one", "first.two:1")
    judged = tp.judge(model, images, [run.value, tp.saliency(model, images, [1, 2, 3])], level=0.4)
    yield judged, judged.of(0, 1)
    concepts = {"bright": pictures(4) + 1, "same": pictures(4, seed=5)}
    yield tp.tcav(model, concepts, pictures(4, seed=6), 1, "second", images=images)
    usual = tp.prototypes(model, pictures(2).repeat(14, 1, 1, 1), "second")
    yield usual, usual.judge(model, images)
    masks = {"second": torch.arange(8) < 4}
    yield tp.mask_overlap(masks, masks), tp.mask_faithfulness(model, masks, images, parts=2)
    about = {"n": 2, "crops": 2, "designs": 2, "keep": "all"}
    yield tp.craft(shared("in_place"), pictures(4), 1, "features.2", **about)
    yield tp.toy_selectivity(), tp.filter_image(pictures(1)[0].clamp(0, 1).float(), "sobel_x")
    yield tp.exam_methods(["saliency", "attention_rollout"], n=1), tp.exam_metrics(["relevance_mass", "relevance_rank"], n=1)
    place = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    group = RelevanceCluster(
        "a", 3, (0.5, 0.3, 0.2), torch.full((7, 7), 1 / 49), 0.1, (0.0, 0.2), 0.01, ("x",), pictures(1), place
    )
    part = tp.ClassComponent("a", 0.5, 1.0, 0.2, 0.7, (-0.6, -0.4), ("x",), pictures(1))
    wrong = tp.MistakeConcept(
        "a", {"b": 3}, (0.5, 0.3, 0.2), 0.1, (0.0, 0.2), 0.01, (0.5, 0.0), ("x",), pictures(1), pictures(1), torch.rand(1, 2)
    )
    yield accused(), group, part, wrong
    yield from of_data(folder)


def repaired() -> Iterator[Any]:
    """A repair of a network of two features, one of which carries a cue."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).double()
    model = tp.wrap(net, size=SIDE, mean=0.0, std=1.0, labels=["a", "b"], outputs="logits", name="two")
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([[0.0, 9.0, 9.0], [9.0, 0.0, 0.0]]))
        net[2].bias.zero_()
    before = (
        torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.4, 0.2])[:, None, None]
    )
    after = before + torch.tensor([0.0, 0.0, 0.7])[:, None, None]
    names = tuple("abcdefgh")
    about = (0.5, (0.4, 0.6), 0.01, (0.9, 0.1), 8, names, names, before, after, before, torch.zeros(8, 2))
    found = tp.suppress(model, tp.Suspicion("watermark", "a", *about))
    yield replace(found, model=None)


def of_data(folder: Path) -> Iterator[Any]:
    """Results about a folder of pictures of two classes."""
    generator = np.random.default_rng(0)
    for i in range(12):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / "ab"[i % 2] / f"{i}.png")
    model = shared(NET)
    scan = tp.scan(model, folder, {"first": list(trackers())}, workers=1)
    yield scan, scan["first"][0].histogram(0)
    yield tp.activation_spectrum(model, folder, ["first:0", "first:1", "first:2"], k=2, size=SIDE, n_steps=1, workers=1)
    yield tp.top_examples(model, folder, ["first:0", "first:1"], k=2, workers=1)
    concepts = tp.concepts(model, folder, "second.relu", n=2, k=2, workers=1)
    yield concepts, concepts.recovery(torch.eye(8, dtype=torch.float64)[:3])
    yield tp.activation_atlas(model, folder, "second", positions=8, grid=2, layout="pca", n_steps=1)
    yield tp.explain(model, pictures(1)[0].clamp(0, 1).float(), methods="grad_cam", evidence=False)
    yield tp.cka(model, shared("in_place"), folder)
    yield tp.compare(model, shared("in_place"), folder, null=[shared("functional"), shared("reused"), model])
    yield tp.rank_methods(model, folder, methods="saliency,random_attribution", n=3, workers=1)
    many = folder.with_name("many")
    many.mkdir(exist_ok=True)
    for i in range(20):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(many / f"{i}.png")
    yield tp.five_questions(model, many, twins=2, inverted=1, n_steps=1)
    conflicts = folder.with_name("conflicts")
    conflicts.mkdir(exist_ok=True)
    for name in ("cat1-dog1", "dog1-cat2", "cat2-dog2"):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(conflicts / f"{name}.png")
    yield tp.shape_or_texture(model, conflicts, categories={"cat": [0, 1], "dog": [2]})
    labelled = folder.with_name("labelled")
    for i in range(32):
        (labelled / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(labelled / "ab"[i % 2] / f"{i}.png")
    yield tp.name_units(model, labelled, "first", workers=1)
    history = tp.train(folder, epochs=2, batch=4, size=SIDE)
    yield replace(history, model=None), tp.check_predictions(history.model, folder, n=3)


def trackers() -> Iterator[Any]:
    """One of every kind, in an order that begins with the spectrum."""
    given = {"Spectrum": {"k": 2}, "TopK": {"k": 2}, "Positions": {"count": 2}}
    modules = [importlib.import_module(one.name) for one in pkgutil.iter_modules(kept.__path__, f"{kept.__name__}.")]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type) and is_dataclass(value)}
    found = {kind for kind in found if hasattr(kind, "merge") and kind.__module__.startswith(kept.__name__)}
    for kind in sorted(found, key=lambda kind: (kind is not tp.Spectrum, kind.__name__)):
        yield kind(**given.get(kind.__name__, {}))


def within(value: Any) -> Iterator[Result]:
    """A result and those that it holds."""
    if isinstance(value, Result):
        yield value
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    for one in value if isinstance(value, (list, tuple)) else ():
        yield from within(one)


@functools.cache
def results() -> dict[type, Any]:
    """The first result of every kind."""
    found: dict[type, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in within(list(made(Path(folder)))):
            found.setdefault(type(one), one)
    return found


def test_every_kind_is_made() -> None:
    assert set(results()) == set(KINDS)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not ScanResult], ids=lambda kind: kind.__name__)
def test_the_rows_of_a_result_are_those_of_a_list(kind: type) -> None:
    result = results()[kind]
    n = len(result)
    rows = list(itertools.islice(result, n + 2))
    assert len(rows) == n > 0
    for i in range(n):
        assert all(same(result[j], rows[i]) for j in (i, i - n, np.int64(i)))
    for beyond in (n, -n - 1, 99):
        with pytest.raises(IndexError, match=f"there are {n}"):
            result[beyond]
    for wrong in ("0", 1.0, None):
        with pytest.raises(TypeError):
            result[wrong]
    for several in (slice(1, None), slice(None, None, -1), slice(None, None, 2), slice(-2, -1), slice(n, n)):
        assert len(result[several]) == len(rows[several])
        assert all(map(same, result[several], rows[several]))


def test_a_scan_is_asked_for_its_layers() -> None:
    scan = results()[ScanResult]
    assert (list(scan), len(scan), "first" in scan, "absent" in scan, scan.get("absent")) == (["first"], 1, True, False, None)
    with pytest.raises(TapetumError, match="'absent' was not scanned; there are first"):
        scan["absent"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_result_is_words_and_one_line_without_its_numbers(kind: type) -> None:
    result = results()[kind]
    line, words = repr(result), str(result)
    assert line.startswith(f"{kind.__name__}(")
    assert "\n" not in line
    assert len(line) < LINE
    assert words.strip()
    for text in (line, words):
        assert "tensor(" not in text
        assert " object at 0x" not in text
    assert words != line


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_saved_is_opened_equal(kind: type, tmp_path: Path) -> None:
    result = results()[kind]
    back = tp.open(tp.save(result, tmp_path / "a"))
    assert same(back, result)
    assert (str(back), repr(back)) == (str(result), repr(result))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_result_and_its_first_row_are_drawn_and_a_page_shows_them(kind: type) -> None:
    result = results()[kind]
    for one in (result, next(iter(result))):
        if kind in (SpectrumResult, TopKResult):
            with pytest.raises(TapetumError, match="a scan keeps names, not pictures: give model= and source="):
                tp.draw(one)
        elif isinstance(one, Result):
            assert tp.draw(one).get_axes()
    page = result._repr_html_()
    assert page.startswith(('<img src="data:image/png;base64,', "<pre>"))
    assert "\n<" not in page
    assert page.count("<") == (1 if page.startswith("<img") else 2)  # whatever a name holds is escaped


def test_every_result_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(pickle.dumps(list(results().values())))
    code = "import pickle, tapetum; open('back', 'wb').write(pickle.dumps(pickle.load(open('there', 'rb'))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    back = pickle.loads((tmp_path / "back").read_bytes())
    assert [type(one).__name__ for one, other in zip(results().values(), back, strict=True) if not same(one, other)] == []


def test_a_new_kind_is_saved_opened_and_shown_without_a_list(tmp_path: Path) -> None:
    @dataclass(frozen=True, eq=False)
    class Opinion(Result):
        """Of a user."""

        answer: str
        sure: float = 0.5

    try:
        verdict = Opinion("<yes> & no")
        assert same(tp.open(tp.save(verdict, tmp_path / "a")), verdict)
        assert repr(verdict) == "Opinion(answer='<yes> & no', sure=0.5)"
        assert verdict._repr_html_() == "<pre>Opinion\nanswer   &lt;yes&gt; &amp; no\nsure     0.5</pre>"
        assert same(verdict[0], verdict)
    finally:
        del kinds["Opinion"]
