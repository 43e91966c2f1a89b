"""One figure per kind of result, and nothing of matplotlib's global state is touched."""

import subprocess
import sys
from typing import Any

import matplotlib
import pytest
import torch

from tapetum.figures import draw, png, show
from tapetum.types import ActivationMaps, Attribution, Evaluation, Provenance, Run, TapetumError


def attribution(n=1, method="grad_cam", status="ok", target="tabby"):
    values = torch.rand(n, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    return Attribution(
        values=values,
        method=method,
        status=(status,) * n,
        target=(target,) * n,
        size=(48, 64),
        reduce="positive",
        layer="layer4",
    )


def maps():
    return ActivationMaps(torch.randn(1, 8, 14, 14), torch.arange(8)[None] + 90, "mixed4a", (48, 64), "mean activation")


def evaluation():
    fraction = torch.linspace(0, 1, 5)
    return Evaluation("deletion", torch.tensor([0.25]), (1 - fraction)[None] ** 3, fraction, "lower")


def run():
    provenance = Provenance("grad_cam", {}, ("tabby",), "tiny", "0" * 64, "0" * 64, 0, "cpu", "float32", {}, "", 0.1)
    return Run(attribution(), provenance)


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


RESULTS = {
    "attribution": attribution,
    "several images": lambda: attribution(3),
    "activation maps": maps,
    "evaluation": evaluation,
    "run": run,
    "side by side": lambda: [attribution(), attribution(method="layer_cam", status="constant")],
}


@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_every_result_becomes_a_png_and_matplotlib_stays_as_it_was(make: Any) -> None:
    before = dict(matplotlib.rcParams)
    assert png(make(), dpi=40).startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()


def test_the_title_says_method_target_layer_grid_and_unit() -> None:
    shown = words(draw(attribution(), pixels=torch.rand(1, 3, 48, 64)))
    for part in ("grad_cam", "tabby", "layer4", "7 × 7", "no unit", "99.5th percentile"):
        assert part in shown


def test_activation_maps_name_layer_channels_and_size() -> None:
    shown = words(draw(maps()))
    for part in ("mixed4a", "channel 90", "channel 97", "14 × 14"):
        assert part in shown


def test_the_area_under_the_curve_is_filled_and_told() -> None:
    figure = draw(evaluation())
    assert "0.250" in words(figure)
    assert figure.axes[0].collections


def test_a_dollar_in_a_label_is_no_formula() -> None:
    assert png(attribution(target="$unclosed {_ ^"), dpi=40)
    assert png(attribution(2, target="$x^$"), dpi=40)


def test_a_figure_shows_itself_in_a_notebook() -> None:
    assert show(evaluation())._repr_png_()[0].startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused_with_what_can() -> None:
    with pytest.raises(TypeError, match=r"cannot draw dict; what can be drawn: .*Attribution.*Evaluation"):
        draw({})
    with pytest.raises(TypeError, match="this one holds int"):
        draw([1, 2])


def test_photos_and_maps_must_be_as_many() -> None:
    with pytest.raises(TapetumError, match="2 maps need 2 photos, got 1"):
        draw(attribution(2), pixels=torch.rand(1, 3, 48, 64))


def test_matplotlib_is_imported_with_the_first_figure_only() -> None:
    code = "import sys, tapetum.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0
