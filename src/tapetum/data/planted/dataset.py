"""A planted data set: pictures, labels, masks and cues, drawn when they are requested; also a source for scans and training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from tapetum.data.images import write_png
from tapetum.data.planted.drawing import drawn
from tapetum.data.planted.recipes import MOST, Cues, PlantedSettings, Scene, Shortcut, planted_settings, scene
from tapetum.data.streams.base import digest
from tapetum.keeping.whole import whole_folder
from tapetum.progress import track
from tapetum.types import ImageError, Result
from tapetum.types.results import axes

VERSION = 1
"""Version of the drawing code: increased whenever the pictures for given settings change."""


@dataclass(frozen=True, eq=False)
class Planted(Result, kept=False):
    """Synthetic pictures with exact masks. `rows` are the numbers of the pictures; all share `settings`.

    Picture i is a function of the settings and i alone: it is the same in a set of ten and in one of a thousand, and two
    sets with different seeds have none in common. It is also a source of pictures (`tp.scan`, `tp.train`), with `name`,
    `ids`, `labels`, `fingerprint` and `read`.
    """

    settings: PlantedSettings
    rows: tuple[int, ...] = field(metadata=axes("n"))

    def __str__(self) -> str:
        s = self.settings
        cue = "no shortcut" if s.shortcut is None else f"{s.shortcut} goes with the label ({self._cue_words()})"
        return f"{len(self)} planted {s.kind}, {s.size} x {s.size} px, {len(s.classes)} classes, {cue}, seed {s.seed}"

    def _cue_words(self) -> str:
        return f"rate {self.settings.rate:g}" if self.settings.cues == "mixed" else f"{self.settings.cues} in every picture"

    # --- contents

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of their indices."""
        return self.settings.classes

    @cached_property
    def recipes(self) -> tuple[Scene, ...]:
        """Content of each picture: label, cue, background, colour, place, size, angle."""
        return tuple(scene(self.settings, row) for row in self.rows)

    @cached_property
    def targets(self) -> Tensor:
        """Class index (n,) of each picture."""
        return torch.tensor([one.label for one in self.recipes], dtype=torch.long)

    @cached_property
    def cues(self) -> Tensor:
        """Class index (n,) that the cue of each picture suggests; -1 for a picture without a cue."""
        return torch.tensor([-1 if one.cue is None else one.cue for one in self.recipes], dtype=torch.long)

    @property
    def aligned(self) -> Tensor:
        """Mask (n,) of pictures whose cue suggests their own class."""
        return self.cues == self.targets

    @property
    def conflicting(self) -> Tensor:
        """Mask (n,) of pictures whose cue suggests another class."""
        return ~self.aligned & ~self.neutral

    @property
    def neutral(self) -> Tensor:
        """Mask (n,) of pictures without a cue."""
        return self.cues < 0

    # --- pixels

    @cached_property
    def _arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        side = self.settings.size
        levels = np.empty((len(self), 3, side, side), np.uint8)
        masks = np.empty((2, len(self), side, side), bool)
        for place, row in track(enumerate(self.rows), len(self), "pictures drawn"):
            levels[place], masks[0, place], masks[1, place] = drawn(self.settings, row)
        return torch.from_numpy(levels), torch.from_numpy(masks[0]), torch.from_numpy(masks[1])

    @property
    def levels(self) -> Tensor:
        """All pictures (n, 3, size, size) uint8, drawn at the first access and kept."""
        return self._arrays[0]

    @property
    def pixels(self) -> Tensor:
        """All pictures (n, 3, size, size), float32 in [0, 1]."""
        return self.levels.float() / 255

    @property
    def masks(self) -> Tensor:
        """Object masks (n, size, size) bool: True where the object covers at least half of the pixel and nothing covers it."""
        return self._arrays[1]

    @property
    def cue_masks(self) -> Tensor:
        """Cue masks (n, size, size) bool: True where the cue is.

        If the background is the cue, everything but the object; if the object's colour or texture is, the object; the whole
        picture for a blur, a faint pattern or a gain.
        """
        return self._arrays[2]

    # --- other sets

    def take(self, rows: Tensor | Sequence[int]) -> Planted:
        """Returns the set of the chosen pictures: indices into this set in any order, or one boolean per picture."""
        chosen = torch.as_tensor(rows)
        if chosen.dtype == torch.bool:
            if len(chosen) != len(self):
                raise ImageError(f"{len(chosen)} marks were given for {len(self)} pictures")
            chosen = chosen.nonzero().flatten()
        places = sorted({int(place) for place in chosen.tolist()})
        if not places:
            raise ImageError("none of the pictures was chosen; `cues` says which class each cue speaks for")
        if places[0] < 0 or places[-1] >= len(self):
            raise ImageError(f"the set has pictures 0 to {len(self) - 1}, not {places[0] if places[0] < 0 else places[-1]}")
        return Planted(self.settings, tuple(self.rows[place] for place in places))

    def with_cues(self, cues: Cues) -> Planted:
        """Returns the same pictures with other cues: all aligned, all conflicting, all neutral, or mixed at the set's rate.

        Label, place, size and angle of each object are unchanged, and so are colour, texture and background if they are no cue.
        """
        s = self.settings
        checked = planted_settings(s.kind, s.size, s.classes, s.shortcut, s.rate, s.seed, s.backgrounds, cues)
        return Planted(replace(checked, objects=s.objects), self.rows)

    def without_objects(self) -> Planted:
        """Returns the same pictures without their objects: backgrounds and cues are drawn, every object mask is empty."""
        return Planted(replace(self.settings, objects=False), self.rows)

    # --- as a source

    @property
    def name(self) -> str:
        """Name of the set: "planted-shapes" or "planted-objects-background"."""
        return "-".join(filter(None, ("planted", self.settings.kind, self.settings.shortcut)))

    @property
    def ids(self) -> Sequence[str]:
        """Names such as "000017_star": the number of the picture and its class."""
        return self._names[0]

    @property
    def labels(self) -> Sequence[str]:
        """Class name of each picture."""
        return self._names[1]

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        labels = tuple(self.classes[one.label] for one in self.recipes)
        return tuple(f"{row:06d}_{label}" for row, label in zip(self.rows, labels, strict=True)), labels

    def fingerprint(self) -> str:
        """SHA-256 over the settings, the numbers of the pictures and the version of the drawing code."""
        return digest("planted", [VERSION, asdict(self.settings), self.rows])

    def read(self, sample: int) -> Tensor:
        """Pixels (1, 3, size, size) of picture number `sample`, float32 in [0, 1]."""
        if "_arrays" in vars(self):
            return self.levels[sample : sample + 1].float() / 255
        return torch.from_numpy(drawn(self.settings, self.rows[sample]).levels)[None].float() / 255

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "rows": self.rows}

    # --- as files

    def write(self, folder: str | Path) -> Path:
        """Writes PNG files pictures/CLASS/NUMBER.png, masks/ and cues/ beside them, and planted.json, which describes each.

        The folder appears under its name when it is complete; a folder that is not empty is refused. `pictures` is a
        folder of class folders, as `tapetum train` and `tapetum scan` take it.
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ImageError(f"{target} is there already: give a new or an empty folder")
        with whole_folder(target) as work:
            pictures = [self._written(work, i) for i in track(range(len(self)), len(self), "pictures written")]
            about = {"version": VERSION, "settings": asdict(self.settings), "pictures": pictures}
            (work / "planted.json").write_text(json.dumps(about, indent=1))
        return target

    def _written(self, work: Path, i: int) -> dict[str, Any]:
        """Writes the files of picture `i`; returns its entry of planted.json."""
        one, label, (levels, mask, cue_mask) = self.recipes[i], self.labels[i], drawn(self.settings, self.rows[i])
        file = f"{label}/{self.rows[i]:06d}.png"
        planes = {"pictures": torch.from_numpy(levels).float() / 255, "masks": torch.from_numpy(mask).float()}
        if self.settings.shortcut is not None:
            planes["cues"] = torch.from_numpy(cue_mask).float()
        for kind, plane in planes.items():
            (work / kind / file).parent.mkdir(parents=True, exist_ok=True)
            write_png(work / kind / file, plane)
        return {"file": file, **one._asdict(), "label": label, "cue": None if one.cue is None else self.classes[one.cue]}


def planted(
    kind: str = "shapes",
    n: int = 1000,
    size: int = 64,
    *,
    classes: Sequence[str] | None = None,
    shortcut: str | None = None,
    rate: float | int = 0.95,
    seed: int = 0,
    backgrounds: Sequence[str] | None = None,
    cues: str = "mixed",
) -> Planted:
    """Synthetic pictures of which everything is known: an object on a textured background, with its exact mask.

    One object per picture, wholly inside it, of random size, place, angle and colour, independent of its class. With a
    `shortcut`, one cue goes with the class: P(cue of the own class) = rate, else the cue of another class, each as often.

    Args:
        kind: "shapes" (disc, square, triangle, star, ring, cross, heart, moon; turned by any angle) or "objects" (house,
            tree, fish, car, cup, boat, mushroom, flower, and on demand husky, wolf; turned by up to 20 degrees).
        n: how many pictures, of each class equally many (to within one).
        size: pixels per side, 16 to 1024.
        classes: names of the classes, in the order of their indices; None: the first eight of the kind.
        shortcut: "background" (each class has one), "watermark" (a plate with three letters in a corner), "border" (a
            coloured frame), "color" (of the object), "texture" (a pattern on the object), or None; and three that the eye
            hardly sees: "blur" (of its own strength), "pattern" (a faint grating), "gain" (of one colour channel).
        rate: share of pictures whose cue speaks for their own class, in [0, 1].
        seed: another seed, other pictures: seed=0 to train, seed=1 to test.
        backgrounds: grass, snow, water, sand, brick, clouds, wood, pebbles, or some of them; as a shortcut, the first is
            that of the first class, and so on.
        cues: "mixed" at the rate, or the same in every picture: "aligned", "conflicting" or "neutral" (no cue; where the
            background is the cue, one that speaks for no class).

    Example:
        >>> tp.planted("shapes", n=8).pixels.shape
        torch.Size([8, 3, 64, 64])
    """
    if not 1 <= n <= MOST:
        raise ImageError(f"a planted set has 1 to {MOST:,} pictures, not {n}")
    return Planted(planted_settings(kind, size, classes, shortcut, float(rate), seed, backgrounds, cues), tuple(range(n)))


_NUMBERS = {"n": int, "size": int, "seed": int, "rate": float}
_FORM = (
    '"planted[:shapes|objects][:background=.95|watermark=...|border=...|color=...|texture=...|blur=...|pattern=...|gain=...]'
    '[:conflicting][:n=1000][:size=64][:seed=0]"'
)


def from_text(text: str) -> Planted:
    """Returns the set named by "planted", "planted:objects" or "planted:shapes:background=.95:n=500", parts in any order."""
    given: dict[str, Any] = {}
    for part in text.split(":")[1:]:
        name, _, value = part.partition("=")
        try:
            given |= _option(name, value)
        except (KeyError, ValueError):
            raise ImageError(f'"{part}" of {text} is not understood; the form is {_FORM}') from None
    return planted(**cast("Any", given))


def _option(name: str, value: str) -> dict[str, Any]:
    if not value:
        return {{"shapes": "kind", "objects": "kind", "aligned": "cues", "conflicting": "cues", "neutral": "cues"}[name]: name}
    if name in get_args(Shortcut):
        return {"shortcut": name, "rate": float(value)}
    if name in ("classes", "backgrounds"):
        return {name: tuple(value.split(","))}
    return {name: _NUMBERS[name](value)}
