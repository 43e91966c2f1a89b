"""Writes the page of an audit: the verdict first, each suspicion with pictures, what to do, and what is not known."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.reports.audits import charts, shown, words
from tapetum.reports.fragments import facts
from tapetum.reports.markup import Markup, tag
from tapetum.reports.page import made_by, resource, write_page
from tapetum.reports.words import percent
from tapetum.types import Audit, Suspicion

PAIRS, SHOWN, STRIP = 6, 12, 6
"""Examples of a suspicion, suspicions with examples, and groups and pictures of one, at most."""


def write_audit(
    path: Path, found: Audit, made: Mapping[str, Any], model_facts: Mapping[str, str], told: Sequence[str] = ()
) -> Path:
    """Writes the page of an audit and returns its path. The page contains its pictures and loads nothing.

    made   how the audit was made, as in audit.json: parameters, versions, hashes, times
    told   options that describe the model, for the command that makes the page again
    """
    head = words.headline(found)
    top = tag(
        "header",
        tag("p", "tapetum", class_="mark"),
        tag("h1", head),
        tag("p", words.verdict(found), class_="verdict"),
        facts(_about(found, model_facts), "facts"),
        class_="top",
    )
    sections = (
        _found(found),
        _advice(found),
        _asked(found),
        _section("What the answers rest on", _reliance(found)),
        _mistakes(found),
        _groups(found),
        _components(found),
        _section("What goes with classes and with mistakes", _properties(found)),
        _section("How sure this is", _certainty(found)),
        _skipped(found.skipped),
    )
    body = (
        tag("a", "Skip to what was found", href="#main", class_="skip"),
        top,
        tag("main", sections, id="main"),
        made_by(_command(made, told), _provenance(made)),
    )
    style = f"{resource('page.css')}\n{resource('audits/page.css')}"
    return write_page(path, f"{head}: {found.model} on {found.data}", body, style)


def _about(found: Audit, model_facts: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name: value for name, value in model_facts.items() if name in ("Model", "Weights", "Input")},
        "Data": f"{found.data}, {found.n} pictures of {len(found.classes)} classes",
        "Right answers": percent(found.accuracy),
        "Objects": "from masks" if found.masked else "what stands out",
    }


def _section(title: str, *children: Any, **attributes: Any) -> Markup:
    return tag("section", tag("h2", title), children, class_="part", **attributes)


# --- what was found


def _found(found: Audit) -> Markup | None:
    if not found.suspicions:
        return None
    ranked = [_suspicion(found, place) for place in range(min(SHOWN, len(found.suspicions)))]
    left = len(found.suspicions) - SHOWN
    more = tag("p", f"{left} weaker ones are in the table alone.", class_="note") if left > 0 else None
    return _section("What was found, strongest first", _ranked(found), ranked, more)


def _asked(found: Audit) -> Markup:
    lead = (
        "Every picture took a cue of another one, drawn without a look at classes. A dot is a class: by how many points its "
        "probability rises on pictures of other classes when the cue comes from one of its own. Filled dots were found: past "
        "the line, which is the least effect that counts, beyond chance, and at a cost to the class where others give the cue."
    )
    return _section("What was moved, and what followed", tag("p", lead, class_="lead"), charts.effects(found))


def _ranked(found: Audit) -> Markup:
    head = [tag("th", name, scope="col") for name in ("Cue", "Towards", "Effect, points", "95 %", "p", "Flips")]
    rows = [
        tag(
            "tr",
            tag("th", words.capital(words.NAMES[one.kind]), scope="row"),
            [tag("td", cell) for cell in _cells(one)],
        )
        for one in found.suspicions
    ]
    caption = tag(
        "caption", "Flips: share of other classes' pictures answered so with the cue, and with that of another class."
    )
    return tag("div", tag("table", caption, tag("thead", tag("tr", head)), tag("tbody", rows)), class_="scroll ranked")


def _cells(one: Suspicion) -> tuple[str, ...]:
    low, high = one.interval
    span, p = f"{words.pts(low)} to {words.pts(high)}", f"{one.p_value:.2g}"
    own, others = (f"{100 * flip:.0f}" for flip in one.flips)
    return one.label, f"+{words.pts(one.effect)}", span, p, f"{own} / {others} %"


def _suspicion(found: Audit, place: int) -> Markup:
    one = found.suspicions[place]
    same = words.same_cue(one, found.suspicions)
    new = all(other.kind != one.kind for other in found.suspicions[:place])
    title = tag("h3", f"{place + 1}. ", tag("em", one.label), f" follows {words.NAMES[one.kind]}")
    done = tag("p", f"The experiment: {words.MOVED[one.kind]}.", class_="note") if new else None
    pairs = [shown.moved(one, row) for row in range(min(PAIRS if new and same is None else PAIRS // 2, len(one.examples)))]
    lead = (
        tag("p", "Pictures that changed most: as it is, the one that gave its cue, and with that cue:", class_="note")
        if pairs
        else None
    )
    parts = (
        title,
        tag("p", words.experiment(one), class_="said"),
        tag("p", same, class_="same") if same else None,
        done,
        lead,
        tag("div", pairs, class_="pairs"),
    )
    return tag("article", parts, class_="suspicion")


def _advice(found: Audit) -> Markup | None:
    if not found.suspicions:
        return None
    items = [tag("li", tag("strong", f"{name}. "), said) for name, said in words.advice(found)]
    return _section("What to do", tag("ol", items, class_="steps"), [tag("p", said) for said in words.AGAIN])


# --- what it rests on


def _reliance(found: Audit) -> list[Markup | None]:
    lead = tag(
        "p",
        "By how many points the probability of a picture's own class falls when its object, or its surroundings, are another "
        "class's.",
        class_="lead",
    )
    order = charts.by_surroundings(found)
    said = [words.reliance(found.classes[i], found.reliance[i].tolist()) for i in order]
    left = len(found.classes) - len(order)
    more = tag("p", f"{left} other classes are in audit.json.", class_="note") if left else None
    return [lead, charts.reliance(found, order), _list(said), more]


def _groups(found: Audit) -> Markup | None:
    """Groups of a class's pictures by where their evidence lies, those whose place matters."""
    kept = [one for one in found.clusters if one.p_value <= found.level][:STRIP]
    lead = (
        "Maps of each class's pictures were grouped by where the evidence lies. Then the most telling places were hidden, and, "
        "for comparison, the least telling ones. Listed are the groups where this made a difference, with the places outlined."
    )
    return _looked_at("Where the evidence lies", lead, [(words.sentence(one), shown.examples(one, STRIP)) for one in kept])


def _mistakes(found: Audit) -> Markup | None:
    """Concepts that drive mistakes, with pictures before and after they were hidden."""
    kept = [one for one in found.mistakes if one.p_value <= found.level]
    lead = (
        "What the pictures answered by a class have in common was taken apart into concepts, and the one kept that speaks most "
        "for the wrong class in wrongly answered pictures. Then the seventh of each picture with most of it was hidden, and, "
        "for comparison, as much at random. Without mistakes, a shortcut leaves no trace here."
    )
    pairs = [[shown.corrected(one, row) for row in range(min(PAIRS // 2, len(one.examples)))] for one in kept]
    parts = [(words.sentence(one), tag("div", some, class_="pairs")) for one, some in zip(kept, pairs, strict=True)]
    return _looked_at("What drives the mistakes", lead, parts)


def _components(found: Audit) -> Markup | None:
    """Parts of classes' logits that rest on the surroundings more than on the object."""
    kept = [one for one in found.components if one.on_surroundings][:STRIP]
    lead = (
        "Each class's logit was taken apart into its principal components. Each part was measured again with another class's "
        "object, and with another class's surroundings. Listed are the parts that the surroundings carry more than the object, "
        "with the pictures that have most of them."
    )
    title = "Parts of a class that rest on the surroundings"
    return _looked_at(title, lead, [(words.sentence(one), shown.examples(one, STRIP)) for one in kept])


def _looked_at(title: str, lead: str, parts: Sequence[tuple[str, Markup]]) -> Markup | None:
    """A section of findings, each a sentence and its pictures; none without findings."""
    if not parts:
        return None
    items = [tag("li", tag("p", said), pictures) for said, pictures in parts]
    return _section(title, tag("p", lead, class_="lead"), tag("ul", items, class_="sentences looks"))


def _properties(found: Audit) -> Markup:
    said = words.properties(found)
    if not said:
        names = words.listing([one.name for one in found.properties], 20)
        return tag("p", f"Nothing: neither the classes nor the mistakes go with any of these: {names}.")
    lead = (
        f"{len(found.properties)} properties of the pictures themselves were compared. What goes with the classes can be "
        "learned in place of them; whether it was learned is what the experiments test. All p-values are corrected."
    )
    return Markup(tag("p", lead, class_="lead") + tag("ul", [tag("li", one) for one in said], class_="sentences"))


# --- how sure


def _certainty(found: Audit) -> list[Markup | None]:
    receipt = found.receipt
    if receipt is None:
        note = (
            "No receipt was asked for. With --twins 20, small networks are trained in your setting, half of them with a cue "
            "planted, and audited blind: the share found is the answer to how much of what is there would be found."
        )
        return [tag("p", note), _list(words.certainty(found))]
    said = words.capital(str(receipt).partition(" (")[0]) + "."
    rows = [
        tag("li", tag("span", words.kind_name(kind), class_="name"), tag("span", f"{hits} of {planted}", class_="value"))
        for kind, (hits, planted) in receipt.kinds.items()
    ]
    notes = [tag("p", one, class_="note") for one in words.receipt_notes(receipt)]
    return [tag("p", said, class_="said"), tag("ul", rows, class_="receipt"), *notes, _list(words.certainty(found))]


def _list(sentences: Sequence[str]) -> Markup:
    return tag("ul", [tag("li", one) for one in sentences], class_="sentences")


def _skipped(skipped: Mapping[str, str]) -> Markup | None:
    if not skipped:
        return None
    items = [tag("div", tag("dt", name), tag("dd", why)) for name, why in skipped.items()]
    return _section("Pictures that could not be read", tag("div", tag("dl", items), class_="refused"))


# --- how it was made


def _command(made: Mapping[str, Any], told: Sequence[str]) -> str:
    given = {name: value for name, value in made["parameters"].items() if name != "data" and value not in (None, 0)}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["tapetum", "audit", str(made["parameters"]["data"]), "--model", str(made["model"]), *told, *options])


def _provenance(made: Mapping[str, Any]) -> dict[str, str]:
    pairs = {name: str(made[name]) for name in ("started", "device", "machine") if made.get(name)}
    return {**{name: str(value) for name, value in made.get("versions", {}).items()}, **pairs}
