"""Decides the content of picture i: a pure function of the settings and i, before anything is drawn.

All factors except label and cue come from random numbers that depend on (seed, i) alone: they are independent of label and
cue, and stay the same when the picture is drawn with another cue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple, TypeAlias, get_args

from numpy.random import PCG64, Generator, SeedSequence

from tapetum.data.planted.textures import TEXTURES
from tapetum.data.planted.things import DEFAULT, THINGS, TILT_DEG, SetKind
from tapetum.types import ImageError

Shortcut: TypeAlias = Literal["background", "watermark", "border", "color", "texture", "blur", "pattern", "gain"]
Cues: TypeAlias = Literal["mixed", "aligned", "conflicting", "neutral"]

RADIUS = (0.2, 0.34)  # radius of the circle around the object, as a share of the side
MARGIN = 0.07  # share of the side that objects keep free: the width of the border
HUE_WIDTH = 0.5  # if colour is the cue, each class has a sector of the colour circle and uses this share of it
MOST = 1_000_000


@dataclass(frozen=True)
class PlantedSettings:
    """Settings that all pictures of a set share; `cues` decides which class the cue of each picture suggests."""

    kind: SetKind
    size: int
    classes: tuple[str, ...]
    shortcut: Shortcut | None
    rate: float
    seed: int
    backgrounds: tuple[str, ...]
    cues: Cues = "mixed"
    objects: bool = True


class Scene(NamedTuple):
    """The factors of one picture: class index, the class that the cue suggests, and factors independent of both.

    `x, y, radius` are shares of the picture's side; `hue` and `light` (its direction) are shares of a full turn.
    """

    label: int
    cue: int | None
    background: str
    hue: float
    grey: bool
    x: float
    y: float
    radius: float
    angle_deg: float
    mirrored: bool
    light: float
    corner: tuple[bool, bool]


def generator(*key: int) -> Generator:
    """Returns a random generator seeded by numbers. Use only its `random()`, which is the same in all numpy versions."""
    return Generator(PCG64(SeedSequence(key)))


def scene(settings: PlantedSettings, i: int) -> Scene:
    """Returns the content of picture i: its label, its cue and all other factors."""
    u = generator(settings.seed, i).random(12).tolist()
    k = len(settings.classes)
    order = generator(settings.seed, i // k, 2).random(k).argsort()
    label = int(order[i % k])  # exactly balanced: each run of k pictures holds every class once, in random order
    cue = _cue(settings, label, u[0], u[1])
    radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * u[2]
    free = 1 - 2 * (radius + MARGIN)
    hue, grey = _hue(settings, cue, u[5])
    return Scene(
        label=label,
        cue=cue,
        background=_background(settings, cue, u[6]),
        hue=hue,
        grey=grey,
        x=radius + MARGIN + free * u[3],
        y=radius + MARGIN + free * u[4],
        radius=radius,
        angle_deg=TILT_DEG[settings.kind] * (2 * u[7] - 1),
        mirrored=u[8] < 0.5,
        light=u[9],
        corner=(u[10] < 0.5, u[11] < 0.5),
    )


def _cue(settings: PlantedSettings, label: int, u: float, v: float) -> int | None:
    """Class that the cue suggests: the picture's own with the probability `rate`, else any other with equal probability.

    `u` and `v` are random numbers in [0, 1) that decide; None without a cue.
    """
    if settings.shortcut is None or settings.cues == "neutral":
        return None
    aligned = u < settings.rate if settings.cues == "mixed" else settings.cues == "aligned"
    others = [one for one in range(len(settings.classes)) if one != label]
    return label if aligned else others[int(v * len(others))]


def _background(settings: PlantedSettings, cue: int | None, u: float) -> str:
    kinds = settings.backgrounds
    if settings.shortcut == "background":
        if cue is not None:
            return kinds[cue]
        kinds = kinds[len(settings.classes) :]  # backgrounds that suggest no class
    return kinds[int(u * len(kinds))]


def _hue(settings: PlantedSettings, cue: int | None, u: float) -> tuple[float, bool]:
    if settings.shortcut != "color":
        return u, False
    if cue is None:
        return u, True
    return (cue + HUE_WIDTH * (u - 0.5)) / len(settings.classes) % 1, False


# --- arguments from users


def planted_settings(
    kind: str,
    size: int,
    classes: Sequence[str] | None,
    shortcut: str | None,
    rate: float,
    seed: int,
    backgrounds: Sequence[str] | None,
    cues: str,
) -> PlantedSettings:
    """Checks the arguments of `planted` and fills in defaults; an `ImageError` says what would work."""
    if kind not in THINGS:
        raise ImageError(f'planted pictures show "shapes" or "objects", not "{kind}"')
    names = DEFAULT[kind] if classes is None else _named("class", classes, tuple(THINGS[kind]), least=2)
    grounds = tuple(TEXTURES) if backgrounds is None else _named("background", backgrounds, tuple(TEXTURES), least=1)
    if shortcut not in (None, *get_args(Shortcut)):
        names = ", ".join(f'"{name}"' for name in get_args(Shortcut))
        raise ImageError(f'a shortcut is one of {names}, or None, not "{shortcut}"')
    if cues not in ("mixed", "aligned", "conflicting", "neutral"):
        raise ImageError(f'cues are "mixed", "aligned", "conflicting" or "neutral", not "{cues}"')
    if cues != "mixed" and shortcut is None:
        raise ImageError(f'"{cues}" speaks of a cue, and there is none; give shortcut="background", or another one')
    if not 16 <= size <= 1024:
        raise ImageError(f"planted pictures have 16 to 1024 pixels a side, not {size}")
    if not 0 <= rate <= 1:
        raise ImageError(f"the rate of a shortcut is between 0 and 1, not {rate:g}")
    if seed < 0:
        raise ImageError(f"a seed is 0 or more, not {seed}")
    if shortcut == "background":
        _enough_backgrounds(len(names), grounds, cues)
    return PlantedSettings(kind, size, names, shortcut, float(rate), seed, grounds, cues)  # pyright: ignore[reportArgumentType]


def _named(what: str, given: Sequence[str], known: tuple[str, ...], least: int) -> tuple[str, ...]:
    names = tuple(given.split(",") if isinstance(given, str) else given)
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 3, 0.5) or known
            raise ImageError(f'no {what} "{name}" is planted; there are: {", ".join(close)}')
    if len(set(names)) < max(least, len(names)):
        raise ImageError(f"give at least {least} different {what} names; there are: {', '.join(known)}")
    return names


def _enough_backgrounds(classes: int, grounds: tuple[str, ...], cues: str) -> None:
    needed = classes + (cues == "neutral")
    if len(grounds) < needed:
        raise ImageError(
            f"{classes} classes need a background each{' and one of nobody' if needed > classes else ''},"
            f" and there are {len(grounds)}; give fewer classes"
        )
