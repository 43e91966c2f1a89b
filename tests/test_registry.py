"""Registered means documented, cited and checked: the one list from which everything else is made."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from together import holds
from zoo import pictures, shared

import tapetum as tp
from tapetum.registry import add, argument_help, check_parameters, lookup, parameters
from tapetum.types import Method, MethodError, Range

METHODS = list(tp.methods())
BIBLIOGRAPHY = (Path(__file__).parents[1] / "docs" / "references.bib").read_text()
KEYS = set(re.findall(r"^@\w+\{([^,]+),", BIBLIOGRAPHY, re.MULTILINE))


def test_a_range_inside_a_union_counts() -> None:
    (steps,) = [one for one in parameters(lookup("visualize")) if one.name == "n_steps"]
    assert steps.range == Range(1, 100_000)
    assert steps.type == int | None
    with pytest.raises(MethodError, match="n_steps must be from 1 to 100000, not 0"):
        check_parameters(lookup("visualize"), {"n_steps": 0})
    assert check_parameters(lookup("visualize"), {"n_steps": None})["n_steps"] is None


def test_every_method_says_in_one_sentence_what_it_shows() -> None:
    def law(method: Method) -> None:
        assert method.summary.endswith(".")
        assert 30 <= len(method.summary) <= 200
        assert "\n" not in method.summary

    holds(law, METHODS)


def test_every_method_states_its_formula_or_what_its_values_are() -> None:
    def law(method: Method) -> None:
        body = (method.function.__doc__ or "").partition("Args:")[0]
        told = {
            "rendering": r"\bpixels\s+\(|\bnumbers\b",
            "inspection": r"=|\w+\s+\(\w+, ",  # a formula, or the axes of what it holds
            "survey": r"=|\bscores?\b",
        }.get(method.kind, r"^\s*.*\b(values|value|R_in)\b.*(=|~|\(n, )")
        assert re.search(told, body, re.MULTILINE), body

    holds(law, METHODS)


def test_every_keyword_is_explained_and_typed() -> None:
    def law(method: Method) -> None:
        for parameter in parameters(method):
            assert len(parameter.help) > 5, parameter.name
            assert parameter.help.endswith("."), parameter.name
            assert parameter.type is not None
        assert {parameter.name for parameter in parameters(method)} >= set(argument_help(method.function.__doc__ or ""))

    holds(law, METHODS)


def test_every_method_shows_an_example() -> None:
    def law(method: Method) -> None:
        assert "Example:" in (method.function.__doc__ or "")
        assert f"tp.{method.name}(" in (method.function.__doc__ or "")

    holds(law, METHODS)


def test_every_citation_is_in_the_bibliography() -> None:
    def law(method: Method) -> None:
        assert method.cite is None or method.cite in KEYS
        for key in re.findall(r"\b[a-z]+\d{4}[a-z0-9]+\b", method.function.__doc__ or ""):
            assert key in KEYS

    holds(law, METHODS)


def test_every_method_is_reachable_under_its_name() -> None:
    public, table = dir(tp), str(tp.methods())

    def law(method: Method) -> None:
        assert getattr(tp, method.name) is method.function
        assert method.name in public
        assert tp.lookup(method.name) is method
        assert method.name in table

    holds(law, METHODS)


def test_every_default_is_in_its_own_range() -> None:
    def law(method: Method) -> None:
        defaults = {parameter.name: parameter.default for parameter in parameters(method)}
        required = {name: "given" for name, default in defaults.items() if default is inspect.Parameter.empty}
        assert check_parameters(method, required) == {**defaults, **required}

    holds(law, METHODS)


def test_the_table_can_be_narrowed() -> None:
    cams = tp.methods(family="cams")
    assert {method.family for method in cams} == {"cams"}
    assert "grad_cam" in [method.name for method in cams]
    assert {method.kind for method in tp.methods(kind="metric")} == {"metric"}


def test_a_name_that_is_taken_is_an_error_at_import() -> None:
    with pytest.raises(MethodError, match=r"^two methods are called 'saliency'$"):
        add(lookup("saliency"))


def test_an_unknown_method_names_close_ones() -> None:
    with pytest.raises(MethodError, match=r"^no method 'gradcam'; close names: grad_cam"):
        tp.lookup("gradcam")
    with pytest.raises(AttributeError, match="no attribute 'gradcam'"):
        _ = tp.gradcam


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("smooth_grad", {"n_sample": 3}, "smooth_grad has no parameter 'n_sample'; did you mean 'n_samples'?"),
    ("saliency", {"xyz": 3}, "saliency has no parameter 'xyz'; it has batch, like"),
    ("edge_attribution", {"xyz": 3}, "edge_attribution has no parameter 'xyz'; it has none"),
    ("smooth_grad", {"n_samples": 0}, "smooth_grad: n_samples must be from 1 to 10000, not 0"),
    ("smooth_grad", {"sigma": 2.5}, "smooth_grad: sigma must be from 0 to 2, not 2.5"),
    ("smooth_grad", {"sigma": float("nan")}, "smooth_grad: sigma must be from 0 to 2, not nan"),
    ("smooth_grad", {"sigma": "much"}, "smooth_grad: sigma is a number from 0 to 2, not 'much'"),
    ("smooth_grad", {"sigma": None}, "smooth_grad: sigma is a number from 0 to 2, not None"),
    ("smooth_grad", {"n_samples": True}, "smooth_grad: n_samples is a whole number from 1 to 10000, not True"),
    ("smooth_grad", {"n_samples": 2.5}, "smooth_grad: n_samples is a whole number from 1 to 10000, not 2.5"),
    ("smooth_grad", {"seed": 1.5}, "smooth_grad: seed is a whole number, not 1.5"),
    ("smooth_grad", {"seed": None}, "smooth_grad: seed is a whole number, not None"),
    ("occlusion", {"window": 0}, "occlusion: window must be from 1 to 10000, not 0"),
    (
        "integrated_gradients",
        {"quadrature": "simpson"},
        "integrated_gradients: quadrature is one of gauss_legendre, middle, trapezoid, left, right, not 'simpson'",
    ),
    ("saliency", {"batch": "huge"}, "saliency: batch is one of auto, not 'huge'"),
    ("saliency", {"batch": 0}, "batch must be at least 1, not 0"),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED)
def test_wrong_parameters_are_refused_in_one_line(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError) as caught:
        lookup(name).function(shared("reused"), pictures(1), 1, **given)
    assert str(caught.value) == message
    with pytest.raises(MethodError):
        tp.run(name, shared("reused"), pictures(1), target=1, **given)


def test_whole_numbers_do_for_numbers() -> None:
    assert lookup("smooth_grad").function(shared("reused"), pictures(1), 1, n_samples=2, sigma=0).status == ("ok",)
    assert isinstance(check_parameters(lookup("smooth_grad"), {"sigma": 1})["sigma"], float)


def test_numpy_numbers_do_too() -> None:
    import numpy as np

    values = check_parameters(lookup("smooth_grad"), {"n_samples": np.int64(3), "sigma": np.float32(0.5)})
    assert (values["n_samples"], values["sigma"]) == (3, 0.5)


def test_ranges_and_choices_can_be_read_by_a_form() -> None:
    known = {parameter.name: parameter for parameter in parameters(lookup("smooth_grad"))}
    assert known["n_samples"].range == Range(1, 10_000)
    assert (known["n_samples"].type, known["n_samples"].default) == (int, 50)
    assert known["sigma"].type is float
    assert known["generator"].default is None
    assert known["seed"].default == 0
    window = {parameter.name: parameter for parameter in parameters(lookup("occlusion"))}["window"]
    assert window.range == Range(1, 10_000)
    assert window.default is None
    assert {parameter.name: parameter.choices for parameter in parameters(lookup("activation_maps"))}["by"] == (
        "variance",
        "mean",
        "max",
    )


def test_a_run_records_enough_to_repeat_it() -> None:
    model, images = shared("reused"), pictures(2)
    first = tp.run("smooth_grad", model, images, n_samples=3, seed=5)
    record = first.provenance
    assert record.seed == 5
    assert record.parameters["n_samples"] == 3
    assert record.parameters["sigma"] == 0.15
    assert record.dtype == "float64"
    assert len(record.weights_sha256) == len(record.images_sha256) == 64
    chosen = {key: record.parameters[key] for key in ("n_samples", "sigma", "seed", "target")}
    again = tp.run("smooth_grad", model, images, **chosen)
    assert torch.equal(again.value.values, first.value.values)
    assert again.provenance.images_sha256 == record.images_sha256
    other = tp.run("smooth_grad", model, images + 1e-9, n_samples=3)
    assert other.provenance.images_sha256 != record.images_sha256
