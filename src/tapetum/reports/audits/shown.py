"""Pictures on the page of an audit: before and after an edit, and with the place of the evidence outlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from tapetum.data.images import data_uri
from tapetum.data.preprocessing import thumbnail
from tapetum.reports.audits import words
from tapetum.reports.markup import Markup, tag
from tapetum.types import ClassComponent, MistakeConcept, RelevanceCluster, Suspicion

PICTURE_PX = 224

SMALL_PX = 100
"""Side under which the pixels of a picture are shown as squares."""


def picture(pixels: Tensor, alt: str) -> Markup:
    """An image inside the page, of pixels (3, h, w) in [0, 1]."""
    height, width = pixels.shape[-2:]
    small = thumbnail(pixels[None].float().clamp(0, 1), PICTURE_PX)[0]
    kind = "squares" if max(height, width) < SMALL_PX else None
    return tag("img", src=data_uri(small), alt=alt, width=width, height=height, class_=kind, decoding="async")


def moved(one: Suspicion, row: int) -> Markup:
    """A picture as it is, the one that gave the cue, and the first with the cue of the second."""
    before, after = one.chances[row].tolist()
    name, giver, cue = one.examples[row], one.givers[row], words.NAMES[one.kind]
    images = (
        picture(one.before[row], f"{name} as it is: {words.share(before)} {one.label}"),
        picture(one.sources[row], f"{giver}, which gave {cue}"),
        picture(one.after[row], f"{name} with {cue} of {giver}: {words.share(after)} {one.label}"),
    )
    return _figure(images, _chance(before, after, one.label), f"{name}, {cue} from {giver}", "both three")


def corrected(one: MistakeConcept, row: int) -> Markup:
    """A wrongly answered picture as it is, and with the concept of the mistake hidden."""
    before, after = one.chances[row].tolist()
    name = one.examples[row]
    images = (
        picture(one.before[row], f"{name} as it is: {words.share(before)} {one.label}"),
        picture(one.after[row], f"{name} with the concept hidden: {words.share(after)} {one.label}"),
    )
    return _figure(images, _chance(before, after, one.label), name, "both")


def examples(one: RelevanceCluster | ClassComponent, count: int) -> Markup:
    """A strip of pictures of a group or a part of a class, with the place of a group's evidence outlined."""
    outline = _outline(one.grid) if isinstance(one, RelevanceCluster) else None
    shown = [
        tag("div", picture(pixels, name), outline, class_="marked")
        for pixels, name in zip(one.pictures[:count], one.examples[:count], strict=True)
    ]
    return tag("div", shown, class_="strip")


def _figure(images: Iterable[Markup], chance: Markup, said: str, kind: str) -> Markup:
    return tag("figure", tag("div", *images, class_=kind), tag("figcaption", chance, tag("span", said)))


def _chance(before: float, after: float, label: str) -> Markup:
    return tag("strong", f"{words.share(before)} → {words.share(after)} ", tag("em", label))


def _outline(grid: Tensor) -> Markup:
    """The outline of the cells of a grid in which a group's evidence lies."""
    side = grid.shape[-1]
    cells = grid.flatten().argsort(descending=True, stable=True)[:side].tolist()
    lines = " ".join(_edges({divmod(cell, side) for cell in cells}))
    path = tag("path", d=lines)
    return tag("svg", path, viewBox=f"0 0 {side} {side}", preserveAspectRatio="none", aria_hidden="true")


def _edges(cells: set[tuple[int, int]]) -> Sequence[str]:
    """Path commands for the sides of cells (row, column) that no other cell shares."""
    sides = {(-1, 0): (0, 0, "h1"), (1, 0): (1, 0, "h1"), (0, -1): (0, 0, "v1"), (0, 1): (0, 1, "v1")}
    return [
        f"M{column + right} {row + down}{line}"
        for row, column in sorted(cells)
        for (y, x), (down, right, line) in sides.items()
        if (row + y, column + x) not in cells
    ]
