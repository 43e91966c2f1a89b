"""The page stands alone, escapes what it is given, tells every picture in words, and appears whole or not at all."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from tapetum.reports.markup import Markup, tag, text
from tapetum.reports.page import verdict, write_report
from tapetum.reports.pictures import pictures, safe_name, stems
from tapetum.reports.words import number, percent
from tapetum.types import ActivationMaps, Attribution, Evaluation, Prediction, Provenance, UnwritableError
from tapetum.types.explanations import Explanation, Judged, Question
from tapetum.types.verdicts import Verdict

EVIL = '<script>alert("1")</script>'


def judged(method="grad_cam", faithfulness=0.5, baseline=False, status="ok", target="cat", outcome="stands", overlap=None):
    values = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    attribution = Attribution(
        values=values,
        method=method,
        status=(status,),
        target=(target,),
        size=(32, 32),
        reduce="positive",
        layer="layer4",
    )
    fraction = torch.linspace(0, 1, 5)
    curve = Evaluation("insertion", torch.tensor([0.5]), fraction[None], fraction, "higher")
    provenance = Provenance(
        method, {"n": torch.ones(2)}, (target,), "tiny", "ab", "cd", 7, "cpu", "float32", {"torch": "2"}, "now", 0.1
    )
    evidence = {"deletion": 0.1, "insertion": 0.1 + faithfulness, "faithfulness": faithfulness}
    evidence, curves = (evidence, {"insertion": curve}) if status == "ok" else ({}, {})
    null, hidden = torch.linspace(-0.9, 0.9, 100), {"blur": 0.01, "zero": 0.01}
    known = Verdict(method, target, 0, outcome if status == "ok" else status, 0.0, 0.01, null, 0.1, 0.2, 0.7, hidden, tried=3)
    said = (None if baseline else known, overlap)
    return Judged(attribution, method.title(), f"Shows {target}.", 0.1, evidence, curves, baseline, provenance, *said)


def explanation(file="cat.png", label="cat"):
    photo = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(2))
    maps = (
        judged("lrp", target=label, outcome="random"),
        judged(target=label),
        judged("random_attribution", 0.1, baseline=True, target=label),
        judged("score_cam", status="no_positive_evidence", target=label),
    )
    found = ActivationMaps(torch.randn(1, 3, 8, 8), torch.tensor([[4, 2, 9]]), "layer1", (32, 32), "strength")
    question = Question(label, 3, 0.7, "predicted", maps, {"lrp": f"no rule for {label}"})
    predictions = (Prediction(3, label, 0.7), Prediction(5, None, 0.0))
    crop = photo[..., :32, :32]
    return Explanation(file, photo, crop, "the upper left corner", predictions, (found,), (question,), (f"It says {label}.",))


def written(folder, explanations, model="tiny", refused=(), **facts):
    path = write_report(
        folder, explanations, model=model, model_facts=facts, refused=refused, versions={"torch": "2.6"}, seed=7
    )
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """Fails on a tag that is closed in the wrong order; remembers every element and the text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words += data

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


def policy(html):
    return next(meta["content"] for meta in Reader(html).all("meta") if "http-equiv" in meta)


def test_the_page_is_balanced_and_every_id_is_used_once(tmp_path: Path) -> None:
    reader = Reader(written(tmp_path, [explanation("a.png"), explanation("b.png")]))
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in reader.all("a"):
        assert link["href"].removeprefix("#") in ids


def test_the_page_asks_nothing_of_a_network(tmp_path: Path) -> None:
    html = written(tmp_path, [explanation()])
    assert not re.search(r"https?://|@import|<link", html)
    assert all(address.startswith("data:image/") for address in re.findall(r'(?:src|srcset)="([^"]*)', html))
    assert all(address.startswith("data:image/") for address in re.findall(r"url\(([^)]*)", html))
    assert policy(html).startswith("default-src 'none'; ")


def test_every_picture_has_words_and_every_head_cell_a_scope(tmp_path: Path) -> None:
    reader = Reader(written(tmp_path, [explanation()]))
    assert len(reader.all("img")) >= 7
    assert all(attributes["alt"] for attributes in reader.all("img"))
    assert all(attributes["aria-label"] for attributes in reader.all("svg"))
    assert all(attributes["scope"] in {"col", "row"} for attributes in reader.all("th"))
    assert {"header", "main", "footer", "h1"} <= {name for name, _ in reader.elements}


def test_names_labels_and_reasons_are_text_never_markup(tmp_path: Path) -> None:
    evil = explanation(f"{EVIL}.png", EVIL)
    html = written(tmp_path, [evil, evil], model=EVIL, refused=[(EVIL, EVIL)], fact=EVIL)
    assert EVIL not in html
    reader = Reader(html)
    assert len(reader.all("script")) == 1  # the page's own
    assert EVIL in reader.words


def test_the_policy_names_the_one_script_of_the_page(tmp_path: Path) -> None:
    html = written(tmp_path, [explanation()])
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy(html).endswith(f"script-src 'sha256-{digest}'")


def test_a_map_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    reader = Reader(written(tmp_path, [explanation()]))
    assert any("no positive evidence for this class" in attributes["alt"] for attributes in reader.all("img"))
    assert "no positive evidence" in reader.words


def test_baselines_refusals_seed_and_versions_are_on_the_page(tmp_path: Path) -> None:
    words = Reader(written(tmp_path, [explanation()], refused=[("notes.txt", "not a picture")])).words
    for part in ("baseline", "no rule for cat", "notes.txt", "not a picture", "seed7", "torch2.6", "class 5"):
        assert part in words


def test_a_verdict_says_whether_a_map_stands_up() -> None:
    def said(*maps):
        return verdict(Question("cat", 3, 0.7, "predicted", maps))

    random = judged("random_attribution", 0.2, baseline=True)
    assert said(judged(), random) == "For cat, Grad_Cam leads and stands up (p = 0.01, of 3 tried)."
    assert said(judged(outcome="edges"), random) == "For cat, no map stands up. Do not rely on these maps."
    assert "hardly depend on the class" in said(judged(overlap=0.9))
    assert "no map was tested: cannot be tested: hiding everything changes little." in said(judged(outcome="no_range"))
    assert "none is shown to be right" in said(random)


def test_the_map_that_leads_comes_first_and_each_card_has_its_badge(tmp_path: Path) -> None:
    page = written(tmp_path, [explanation()])
    words = Reader(page).words
    for badge in ("Stands up, best", "No better than random maps", "better than 50 of 100 random maps"):
        assert badge in words
    assert page.index("Stands up, best") < page.index("No better than random maps")
    assert page.count('class="null"') == 4  # two tested maps, each on its card and under Trust


def test_a_failed_write_leaves_the_old_page_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written(tmp_path, [explanation()])

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UnwritableError, match="disk full"):
        written(tmp_path, [explanation("other.png")])
    assert (tmp_path / "report.html").read_text("utf-8") == old
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_file_name_that_is_no_text_does_not_stop_the_page(tmp_path: Path) -> None:
    assert "?.png" in written(tmp_path, [explanation("\udcff.png")])


def test_no_image_at_all_still_gives_a_page_with_the_reasons(tmp_path: Path) -> None:
    assert "broken" in Reader(written(tmp_path, [], refused=[("a.png", "broken")])).words


def test_saved_pictures_carry_their_provenance(tmp_path: Path) -> None:
    names = pictures(tmp_path, [explanation()], ["cat"])
    assert names[0][0][0] == "cat/predicted-lrp.png"
    with Image.open(tmp_path / names[0][0][0]) as picture:
        assert picture.size == (32, 32)
        provenance = json.loads(picture.text["tapetum"])
    assert provenance["seed"] == 7
    assert provenance["parameters"] == {"n": [1.0, 1.0]}


def test_images_of_the_same_stem_get_folders_of_their_own() -> None:
    names = stems(["a/cat.png", "b/cat.jpg", "CAT.webp", "cat-2.png", "b\\cat.png", "results.png"])
    assert len({name.casefold() for name in names} | {"results"}) == len(names) + 1


def test_two_maps_of_one_method_get_two_names(tmp_path: Path) -> None:
    one = explanation()
    twice = Explanation(**{**vars(one), "questions": one.questions * 2})
    names = [name for row in pictures(tmp_path, [twice], ["cat"])[0] for name in row]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "con", "NUL", "", "...", "x" * 500, "a\0b", "猫 の 写真", "a:b*c?", "-rf"]
)
def test_a_safe_name_is_one_plain_part_of_a_path(name: str) -> None:
    assert re.fullmatch(r"\w[\w-]{0,66}", safe_name(name))
    assert safe_name(name).lower() not in {"con", "nul"}


def test_numbers_are_written_for_readers() -> None:
    assert number(-0.25) == "−0.250"
    assert number(float("nan")) == "–"
    assert percent(0.432) == "43.2 %"
    assert percent(0.0001) == "< 0.1 %"


def test_markup_escapes_texts_and_attributes_once() -> None:
    assert tag("p", "<", title='"') == '<p title="&quot;">&lt;</p>'
    assert text(text("<")) == "&lt;"
    assert tag("p", [Markup("<b>"), None, 3]) == "<p><b>3</p>"
    assert tag("input", min=0, hidden=True, class_=None) == '<input min="0" hidden>'
