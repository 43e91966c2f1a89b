"""Sentences about parameters: every parameter has one, and none is written twice."""

from __future__ import annotations

from collections import defaultdict

import tapetum as tp
from tapetum.registry import argument_help, parameters


def test_every_parameter_of_every_method_has_a_sentence() -> None:
    silent = [
        f"{method.name}.{one.name}" for method in tp.methods() for one in parameters(method) if not one.help.endswith(".")
    ]
    assert silent == []


def test_no_two_methods_explain_a_parameter_in_the_same_words() -> None:
    methods_by_sentence: dict[tuple[str, str], list[str]] = defaultdict(list)
    for method in tp.methods():
        for line in argument_help(method.function.__doc__ or "").items():
            methods_by_sentence[line].append(method.name)
    assert {line: names for line, names in methods_by_sentence.items() if len(names) > 1} == {}
