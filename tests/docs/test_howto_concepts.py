"""The how-to page about tests of concepts runs as it stands."""

from __future__ import annotations

from test_howto_units import run


def test_the_page_on_tests_of_concepts_runs() -> None:
    names = run("concept_tests.md")
    assert names["found"].names == ("brick", "nothing")
    assert names["brick"].layer == "features.2"
    assert len(names["parts"].concepts) == 3
    assert len(names["judged"]) == 3
    assert names["part"].name.startswith("simple_cnn-part-")
