"""The gallery: every attribution of the registry on one photograph, with the evidence for and against it."""

from __future__ import annotations

from html import escape
from pathlib import Path

import markup
from PIL import Image
from skimage import data

import tapetum
from tapetum.data.images import to_uint8
from tapetum.figures.overlay import picture
from tapetum.reports.explanation import Judged, Question

SHORTER = {"rise": {"n_masks": 1000}}
"""Settings below the default, for time; the tile says so."""


def gallery_page(site: Path) -> str:
    """Explains the photograph with every method, writes the pictures into `site`, and gives the page."""
    names = [method.name for method in tapetum.methods(kind="attribution")]
    model = tapetum.load("efficientnet_lite0")
    found = tapetum.explain(model, data.chelsea(), methods=names, runner_up=False, parameters=SHORTER)
    question = found.questions[0]
    (site / "images" / "gallery").mkdir()
    tiles = "".join(_tile(judged, found.pixels[0], site) for judged in question.maps)
    refused = "".join(f"<li>{name}: {escape(why)}</li>" for name, why in question.refused.items())
    return f"""<h1>Gallery</h1>
<p>Every attribution on one photograph, best measured faithfulness (insertion &minus; deletion) first. One photograph is
no ranking of methods: on another one the order is another.</p>
<p class="muted">{_setting(question)} Photograph: scikit-image's chelsea.png, CC0.</p>
<div class="tiles">{tiles}</div>{f"<h2>Refused</h2><ul>{refused}</ul>" if refused else ""}"""


def _setting(question: Question) -> str:
    share = "" if question.probability is None else f", probability {question.probability:.2f}"
    return escape(f"Model efficientnet_lite0; target {question.target}{share}; seed 0.")


def _tile(judged: Judged, pixels, site: Path) -> str:  # type: ignore[no-untyped-def]
    file = f"images/gallery/{judged.title}.webp"
    Image.fromarray(to_uint8(picture(judged.attribution, pixels))).save(site / file, quality=88, method=6)
    given = ", ".join(f"{key} {value}" for key, value in SHORTER.get(judged.title, {}).items())
    numbers = ", ".join(f"{name} {judged.evidence[name]:.2f}" for name in ("deletion", "insertion") if judged.evidence)
    notes = "; ".join(filter(None, ["a baseline" if judged.baseline else "", given, numbers]))
    alt = escape(f"{judged.title} over the photograph")
    return f"""<figure><img src="{file}" alt="{alt}" loading="lazy">
<figcaption><a href="methods/{judged.title}.html">{judged.title}</a><br>{markup.inline(notes)}</figcaption></figure>"""
