"""The how-to page on shortcuts: its code runs, and what it says of its network is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tapetum as tp

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "shortcut.md"


def test_the_network_of_the_page_cheats_and_all_of_its_questions_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    model, test, found = names["model"], names["test"], names["found"]
    audit = names["audit"]
    assert {(one.kind, one.label) for one in audit.suspicions} >= {("background", "husky"), ("background", "wolf")}
    assert (audit.reliance[:, 1] > audit.reliance[:, 0]).all()
    assert tp.check_predictions(model, test, of="all").accuracy > 0.95
    assert found.mean < float(found.area.mean())  # less on the animals than a map of noise
    assert tp.check_predictions(model, test.with_cues("conflicting"), of="all").accuracy < 0.1
    assert "20 of 20 huskies on snow are called wolf" in capsys.readouterr().out
    plain = test.pixels.mean((2, 3), keepdim=True).expand_as(test.pixels)
    plain = torch.where(test.masks[:, None], test.pixels, plain)
    said = [one.label for (one,) in tp.predict(model, model.preprocess(plain), k=1)]
    assert sum(a == b for a, b in zip(said, test.labels, strict=True)) >= 0.9 * len(test)  # "answers as before"
