"""Says what an audit found, what follows from it and what does not, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from tapetum.reports.words import three_digits
from tapetum.types import Audit, Property, Receipt, Suspicion
from tapetum.types.looks import points

NAMES: Mapping[str, str] = {
    "background": "the background",
    "watermark": "the corners",
    "border": "the frame",
    "color": "the object's hue",
    "texture": "the object's surface",
    "tint": "the colour cast",
    "sharpness": "the sharpness",
}
"""{kind: the cue, for headings}."""

GIVEN: Mapping[str, str] = {
    "background": "on the background of",
    "watermark": "with the corners of",
    "border": "with the frame of",
    "color": "with the object's hue of",
    "texture": "with the object's surface of",
    "tint": "with the colour cast of",
    "sharpness": "with the sharpness of",
}
"""{kind: how a sentence says where its cue is from}."""

FAINT: Mapping[str, str] = {"blur": "a blur", "pattern": "a faint pattern", "gain": "a channel's gain"}
"""{kind of a planted cue that the eye hardly sees: its name}."""

MOVED: Mapping[str, str] = {
    "background": "each object was put on the background of another picture, laid from patches beside that picture's object",
    "watermark": "the four corners were replaced by another picture's; the sides between them, likewise, for comparison",
    "border": "the outermost 5 % were replaced by another picture's; a frame further in, likewise, for comparison",
    "color": "the hues of each object were turned until their mean was that of another picture's object",
    "texture": "each object got a surface with the grain of another picture's object, over its own coarse colours",
    "tint": "the three colours of each picture were weighted so that the cast was another picture's",
    "sharpness": "the finest structure of each picture was made as strong, or as weak, as another picture's",
}
"""{kind: what was done to the pictures}."""

ADVICE: Mapping[str, str] = {
    "background": "Collect pictures of {labels} on other backgrounds, and of other classes on theirs, and train again with "
    "them. If there are none, paste objects on the backgrounds of other classes while training.",
    "watermark": "Look at the corners of the pictures of {labels}: a logo, a date, a caption, a ruler? Cut it away, or paint "
    "it over, in the pictures of all classes, and train again.",
    "border": "Cut 5 % off each side of every picture, before training and in use. Find the step that adds the frame: a "
    "scanner, an export, a padding to a square.",
    "color": "If the hue belongs to the class, as yellow does to bananas, leave it. Otherwise collect pictures of {labels} in "
    "other colours, or vary the hue while training.",
    "texture": "An object's surface speaks for its class by right. If the shape should decide, collect pictures of {labels} "
    "with other surfaces, or exchange surfaces between classes while training.",
    "tint": "A cast comes from lamps, cameras, stains. Balance the white of all pictures in the same way, or vary the cast "
    "while training.",
    "sharpness": "Sharpness comes from cameras, compression, resizing. Bring the pictures of all classes to one size and one "
    "file quality, or vary the blur while training.",
}
"""{kind: what to do; {labels} stands for the classes}."""

CONTAINED: Mapping[str, Sequence[str]] = {"tint": ("background", "border", "color"), "sharpness": ("background", "texture")}
"""{kind that is measured over the whole picture: cues that change it}."""

AGAIN = (
    "Whether a cue is a fault is for you to say: a ship's sea goes with ships by nature, a hospital's label does not go with "
    "an illness.",
    "Then test again, on the same pictures and with the same seed: what was repaired is no longer in the list, and the "
    "accuracy on pictures in which cue and class disagree has risen.",
)

EDITED = (
    "A picture with a moved cue is no photograph. Where that alone makes a network unsure, a little is enough to tip it: "
    "confirm what was found with unedited pictures in which cue and class disagree, if there are some."
)

NAMED = 3
"""Properties with a sentence of their own."""

UNTESTED = (
    "Nothing was asked about cues of other kinds or in other places: a thing beside the object that is not the whole "
    "background, such as a hand or a ruler; writing in the middle; the object's size, place or pose; patterns too faint to "
    "see; what a file's compression leaves."
)


def headline(found: Audit) -> str:
    """The verdict in a few words."""
    if not found.suspicions:
        return "No shortcut was found"
    kinds = list(dict.fromkeys(NAMES[one.kind] for one in found.suspicions if not contained(one, found.suspicions)))
    return f"The answers follow {listing(kinds)}"


def verdict(found: Audit) -> str:
    """The verdict in one sentence: what the strongest experiment showed, or how small an effect would have been seen."""
    if not found.suspicions:
        low, high = pts(min(found.smallest.values())), pts(max(found.smallest.values()))
        least = f"{high} points" if low == high else f"{low} to {high} points, depending on the cue,"
        return (
            f"None of the {len(found.effects)} cues that were moved between pictures moves the answers to any of "
            f"{len(found.classes)} classes: an effect of {least} would have been seen."
        )
    first = found.suspicions[0]
    others = len(found.suspicions) - 1
    more = f"; {others} weaker finding{'s' * (others > 1)} below" if others else ""
    return (
        f"{share(first.flips[0])} of other classes' pictures are answered '{first.label}' {GIVEN[first.kind]} a picture of "
        f"'{first.label}', against {share(first.flips[1])} with that of any other class{more}."
    )


def experiment(one: Suspicion) -> str:
    """What happened to pictures of other classes when they took the cue."""
    low, high = one.interval
    what = "objects" if one.kind == "background" else "pictures"
    beyond = ", beyond what an equal area elsewhere does" if one.kind in ("watermark", "border") else ""
    return (
        f"{capital(GIVEN[one.kind])} a picture of '{one.label}', {what} of other classes get {pts(one.effect)} points more of "
        f"probability for '{one.label}' (95 %: {pts(low)} to {pts(high)}; p = {one.p_value:.2g}) than with that of any other "
        f"class{beyond}; {share(one.flips[0])} of {one.n} are then answered '{one.label}', against {share(one.flips[1])}."
    )


def contained(one: Suspicion, among: Iterable[Suspicion]) -> str | None:
    """The kind of a suspicion for the same class that changes this cue too; None if there is none."""
    kinds = CONTAINED.get(one.kind, ())
    return next((other.kind for other in among if other.label == one.label and other.kind in kinds), None)


def same_cue(one: Suspicion, among: Iterable[Suspicion]) -> str | None:
    """Says that a suspicion is likely the same cue as another one."""
    kind = contained(one, among)
    if kind is None:
        return None
    return (
        f"Likely the same cue as {NAMES[kind]} of '{one.label}': {NAMES[one.kind]} is that of the whole picture, of which it "
        "is a part. Repair that one first, then test again."
    )


def advice(found: Audit) -> list[tuple[str, str]]:
    """What to do about each kind: (heading, sentences)."""
    kinds: dict[str, list[str]] = {}
    for one in found.suspicions:
        if not contained(one, found.suspicions):
            kinds.setdefault(one.kind, []).append(f"'{one.label}'")
    return [(capital(NAMES[kind]), ADVICE[kind].format(labels=listing(labels, 5))) for kind, labels in kinds.items()]


def reliance(label: str, row: Sequence[float]) -> str:
    """What the answers to a class's pictures rest on, from the drops of its probability in [0, 1]."""
    thing, around = row[:2]
    if not (isfinite(thing) and isfinite(around)):
        return f"'{label}': no object was found, so that nothing can be said."
    most = max(thing, around)
    if most < 0.04:
        rests = "neither the object nor its surroundings alone decide"
    elif min(thing, around) > most / 2:
        rests = "rests on both"
    else:
        rests = "rests on the object" if thing > around else "rests on the surroundings"
    return (
        f"'{label}' {rests}: with another class's object it {_changes(thing)} of probability, with another class's "
        f"surroundings it {_changes(around)}."
    )


def _changes(drop: float) -> str:
    return f"loses {pts(drop)} points" if drop >= 0 else f"gains {pts(-drop)} points"


def properties(found: Audit) -> list[str]:
    """Properties that go with mistakes, then those that go with the classes, each as a sentence; the weaker ones in one."""
    wrong = [one for one in found.properties if one.p_error <= found.level]
    said = [_with_mistakes(one) for one in sorted(wrong, key=lambda one: -abs(one.difference))]
    tied = sorted((one for one in found.properties if one.p_label <= found.level), key=lambda one: -one.share)
    said += [_with_classes(one) for one in tied[:NAMED]]
    rest = [f"{one.name} ({share(one.share)})" for one in tied[NAMED:]]
    return said + ([f"So {'do' if len(rest) > 1 else 'does'}: {listing(rest, 20)}."] if rest else [])


def _with_classes(one: Property) -> str:
    low, high = min(one.means, key=one.means.__getitem__), max(one.means, key=one.means.__getitem__)
    return (
        f"{capital(one.name)} ({one.unit}) goes with the classes: {share(one.share)} of its variance lies between them (p = "
        f"{one.p_label:.2g}). It is least for '{low}', {three_digits(one.means[low])}, and most for '{high}', "
        f"{three_digits(one.means[high])}."
    )


def _with_mistakes(one: Property) -> str:
    more = "more" if one.difference > 0 else "less"
    return (
        f"{capital(one.name)} ({one.unit}) goes with mistakes: pictures that are answered wrongly have "
        f"{abs(one.difference):.1f} standard deviations {more} of it than others of their class (p = {one.p_error:.2g})."
    )


def certainty(found: Audit) -> list[str]:
    """Error rates, and what would not have been found."""
    count = sum(len(effect) for effect in found.effects.values())
    least = listing([f"{NAMES[kind]} {pts(value)}" for kind, value in found.smallest.items()])
    objects = "given masks" if found.masked else "what stands out from a ring near the edge, which is a guess"
    return [
        f"Of models without any of these cues, {100 * found.level:.3g} % are accused by chance at most: every p-value is "
        f"corrected for all {count} pairs of a cue and a class.",
        f"An effect smaller than this many points on a class would not have been seen with these {found.n} pictures: {least}.",
        f"The objects are {objects}.",
        EDITED,
        UNTESTED,
    ]


def pts(value: float) -> str:
    """A difference of probabilities in points, with a true minus sign and no negative zero."""
    text = points(value)
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


def share(value: float) -> str:
    return f"{100 * value:.0f} %"


def sentence(one: object) -> str:
    """What a result says of itself, with this page's space before the percent sign."""
    return f"{one}.".replace("%", "\N{NO-BREAK SPACE}%")


def kind_name(kind: str) -> str:
    """A kind of planted cue, in words; those that the eye hardly sees say so."""
    return NAMES.get(kind) or f"{FAINT.get(kind, kind)} (hardly to be seen)"


def receipt_notes(receipt: Receipt) -> list[str]:
    """What the twins are, and which of them count nowhere."""
    said = [f"Twins: {receipt.setting.rstrip('.')}."] if receipt.setting else []
    if set(receipt.kinds) & set(FAINT):
        said.append("Cues that are hardly to be seen are counted by kind alone, not in the sentence above.")
    if receipt.refused:
        said.append(
            f"{receipt.refused} more did not take the cue that was planted, have no shortcut to find, and count nowhere."
        )
    return said


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def listing(names: Sequence[str], most: int = 8) -> str:
    """Joins names with commas and "and"; of many, the first are named."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""
