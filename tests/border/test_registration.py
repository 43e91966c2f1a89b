"""One registration for every kind, also from other packages; and how far a call travels before it is a tensor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.registry import places
from tapetum.types import MethodError, TargetError

MASKS = torch.zeros(2, 16, 16, dtype=torch.bool)
MASKS[:, 3:9, 4:12] = True


# --- metrics with masks


def test_every_metric_of_the_registry_is_evaluated() -> None:
    model, images = shared("residual"), pictures(2)
    cam = tp.grad_cam(model, images, [1, 3])
    names = [method.name for method in tp.methods(kind="metric")]
    assert {"deletion", "insertion", "pointing_game", "relevance_mass", "relevance_rank"} <= set(names)
    found = tp.evaluate(model, images, cam, names, masks=MASKS)
    assert list(found) == names
    assert torch.equal(found["pointing_game"].value, tp.pointing_game(cam, MASKS).value)
    assert torch.equal(found["deletion"].value, tp.deletion(model, images, cam).value)


def test_a_metric_with_masks_of_another_name_is_drawn_and_kept(tmp_path: Path) -> None:
    cam = tp.grad_cam(shared("residual"), pictures(2), [1, 3])
    mine = replace(tp.pointing_game(cam, MASKS), metric="my_own")
    tp.save(mine, tmp_path / "kept")
    assert tp.open(tmp_path / "kept").metric == "my_own"
    assert "measured against the outline" in str(tp.draw(mine).texts)


def test_a_metric_with_masks_asks_for_them() -> None:
    model, images = shared("residual"), pictures(2)
    cam = tp.grad_cam(model, images, [1, 3])
    with pytest.raises(MethodError, match=r"^relevance_mass needs masks \(n, h, w\) of the objects"):
        tp.evaluate(model, images, cam, ["relevance_mass"])
    with pytest.raises(TypeError, match=r"^relevance_mass\(\) takes an attribution and masks, the rest by keyword$"):
        tp.relevance_mass(cam)


def test_a_run_of_a_metric_with_masks_has_provenance() -> None:
    model, images = shared("residual"), pictures(2)
    cam = tp.grad_cam(model, images, [1, 3])
    done = tp.run("pointing_game", model, images, attribution=cam, masks=MASKS, tolerance_px=2)
    assert torch.equal(done.value.value, tp.pointing_game(cam, MASKS, tolerance_px=2).value)
    assert done.provenance.parameters == {"tolerance_px": 2}


def test_places_say_what_a_method_is_about() -> None:
    about = {name: places(tp.lookup(name)) for name in ("saliency", "visualize", "deletion", "relevance_rank", "scan")}
    assert about == {
        "saliency": ("model", "images", "target"),
        "visualize": ("model", "units"),
        "deletion": ("model", "images", "attribution"),
        "relevance_rank": ("attribution", "masks"),
        "scan": ("model", "source", "trackers"),
    }


def test_a_place_that_is_given_twice_or_not_at_all_is_a_line() -> None:
    model, images = shared("residual"), pictures(1)
    for call in (lambda: tp.saliency(model), lambda: tp.saliency(model, images, images=images)):
        with pytest.raises(TypeError, match=r"^saliency\(\) takes a model and images, the rest by keyword$"):
            call()
    with pytest.raises(TypeError, match=r"^scan\(\) takes a model, a source and trackers, the rest by keyword$"):
        tp.scan(model)


# --- methods of other packages

MORE = '''"""Methods of somebody else."""
from dataclasses import dataclass, field

import torch
import tapetum as tp
from tapetum.types.results import axes

@tp.attribution(cite=None, reduce="sum")
def brightness(score, images, *, power: float = 1.0):
    """How bright each pixel is, whatever the model answers.

    values = x^power (n, c, h, w).

    Args:
        power: exponent.
    """
    return images**power

@tp.metric(cite=None)
def touched(attribution, masks):
    """Whether anything positive lies in the mask."""
    return (attribution.heatmap() > 0)[masks].any()

@dataclass(frozen=True, eq=False)
class Shades(tp.Result):
    """Mean value (n,) of each image."""

    means: torch.Tensor = field(metadata=axes("n"))

@tp.inspection()
def shades(model, images):
    """How bright images are."""
    return Shades(images.mean((1, 2, 3)))
'''

SCRIPT = """
import sys, warnings
import torch, tapetum as tp
from tapetum.cli.main import main

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    row = tp.lookup("brightness")
print(row.family, row.kind, tp.brightness is row.function, "touched" in [one.name for one in tp.methods(kind="metric")])
print([str(one.message) for one in said])
net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
images = torch.rand(1, 3, 16, 16) + 1
found = tp.brightness(net, images, 0, power=2)
print(torch.equal(found.values, images**2), bool(tp.touched(found, torch.ones(1, 16, 16))))
tp.save(tp.shades(net, images), "shades")
for words in (["methods"], ["run", "brightness", "picture.png", "--model", "net.py:build", "--out", "maps", "--power", "2"]):
    try:
        main(words)
    except SystemExit as end:
        print("status", end.code)
"""

NET = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
    ).eval()
"""


def test_a_package_with_an_entry_point_has_its_methods_everywhere_and_a_broken_one_is_named(tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    about = site / "more_methods-1.0.dist-info"
    about.mkdir(parents=True)
    work.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: more-methods\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tapetum]\nbroken = broken_methods\nmore = more_methods.maps\n")
    (site / "more_methods").mkdir()
    (site / "more_methods" / "__init__.py").write_text("")
    (site / "more_methods" / "maps.py").write_text(MORE)
    (site / "broken_methods.py").write_text("import nothing_of_that_name\n")
    (work / "net.py").write_text(NET)
    from PIL import Image

    Image.new("RGB", (224, 224), (200, 100, 50)).save(work / "picture.png")
    source = str(Path(tp.__file__).parents[1])
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([source, str(site)])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=work, env=paths, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "maps attribution True True", done.stderr
    assert lines[1] == (
        "[\"the methods of 'broken' (broken_methods) are missing, since it fails to import: No module named "
        "'nothing_of_that_name'\"]"
    )
    assert lines[2] == "True True"
    assert any(line.startswith("brightness") and "How bright each pixel is" in line for line in lines)
    assert lines.count("status 0") == 2, done.stdout + done.stderr
    assert (work / "maps" / "picture.png").exists()
    opening = "import tapetum as tp; print(len(tp.open('shades')), tp.methods()[-1].name)"
    again = [sys.executable, "-W", "ignore", "-c", opening]
    done = subprocess.run(again, cwd=work, env=paths, capture_output=True, text=True, check=False)
    assert done.stdout == "1 shades\n", done.stderr


def test_a_name_of_ours_is_taken_also_before_anything_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(MORE.replace("brightness", "grad_cam"))
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tp.__file__).parents[1]), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", "import early"], env=paths, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "tapetum.types.refusals.MethodError: two methods are called 'grad_cam'"


# --- the public names


def test_every_public_name_is_there_once_and_kept() -> None:
    for name in tp.__all__:
        assert getattr(tp, name) is getattr(tp, name)
        assert name in vars(tp)
    assert len(set(tp.__all__)) == len(tp.__all__)
    assert tp.grad_cam is tp.lookup("grad_cam").function
    assert "grad_cam" in vars(tp)


def test_an_unknown_public_name_has_close_ones() -> None:
    with pytest.raises(AttributeError, match=r"^module 'tapetum' has no attribute 'lod'; close names: load"):
        _ = tp.lod
    with pytest.raises(AttributeError, match=r"^module 'tapetum' has no attribute 'gradcam'; close names: grad_cam"):
        _ = tp.gradcam


def test_the_version_and_the_marker_of_types_are_there() -> None:
    from importlib.metadata import version

    assert tp.__version__ == version("tapetum")
    assert (Path(tp.__file__).parent / "py.typed").exists()


# --- how far a call travels

MOST = 61
"""Functions of tapetum that a warm Grad-CAM passes (measured; 158 before facts were looked up, each added one is a choice)."""


def passed(call: Callable[[], Any]) -> set[tuple[str, str]]:
    """(file, name) of every function of tapetum that a call enters; what is written inside a function counts as it."""
    home, found = str(Path(tp.__file__).parent), set[tuple[str, str]]()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(home) and not code.co_name.startswith("<"):
            found.add((code.co_filename, code.co_qualname))

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("net", "n", "most"), [("efficientnet_lite0", 1, MOST), ("residual", 1, MOST), ("residual", 2, MOST + 9)]
)
def test_grad_cam_is_not_far_from_its_formula(net: str, n: int, most: int) -> None:
    """Several images pass the functions that find out the free memory, too."""
    model = tp.load(net) if net == "efficientnet_lite0" else shared(net)
    images: Tensor = torch.randn(n, 3, 224, 224) if net == "efficientnet_lite0" else pictures(n)
    for _ in range(2):
        tp.grad_cam(model, images)
    assert len(passed(lambda: tp.grad_cam(model, images))) <= most


def test_a_score_of_a_unit_is_not_read_from_the_output() -> None:
    model, images = shared("residual"), pictures(1)
    score = as_score(model, images, tp.Unit(model.layers()[0].name, 0))
    assert score(images).shape == (1,)
    with pytest.raises(TargetError, match="a unit is read while the network runs"):
        score.read(model(images))


def test_a_checked_batch_is_checked_once_and_again_when_it_was_changed() -> None:
    model = shared("residual")
    ready = model.as_images(pictures(2))
    assert model.as_images(ready) is ready
    checks = {name for _, name in passed(lambda: tp.evaluate(model, ready, tp.saliency(model, ready, 1)))}
    assert "Reader.as_images" in checks
    assert "Reader._check" not in checks
    ready[0, 0, 0, 0] = torch.nan
    with pytest.raises(tp.TapetumError, match="NaN or infinity"):
        model.as_images(ready)


def test_a_batch_is_checked_again_where_its_values_may_have_changed_unseen() -> None:
    model, array = shared("residual"), pictures(1).numpy().copy()
    images = torch.from_numpy(array)
    tp.saliency(model, images, 1)
    array[:] = np.nan
    with pytest.raises(tp.TapetumError, match="NaN or infinity"):
        tp.saliency(model, images, 1)
    ours = pictures(1).clone()
    tp.saliency(model, ours, 1)
    ours.data = torch.full_like(ours, torch.inf)
    with pytest.raises(tp.TapetumError, match="NaN or infinity"):
        tp.saliency(model, ours, 1)
    lent = pictures(1).clone()
    tp.saliency(model, lent, 1)
    lent.numpy()[:] = 200
    with pytest.raises(tp.TapetumError, match=r"look like 0\.\.255 values"):
        tp.saliency(model, lent, 1)


def test_images_that_were_not_normalised_are_noted_by_every_result() -> None:
    model = tp.wrap(shared("residual").module, size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.warns(tp.TapetumWarning, match="the images lie in"):
        ready = model.as_images(torch.linspace(0, 1, 2 * 3 * 16 * 16, dtype=torch.float64).reshape(2, 3, 16, 16))
    assert any("the images lie in" in note for note in tp.saliency(model, ready, 1).notes)
    assert any("the images lie in" in note for note in tp.saliency(model, ready, 1).notes)
