"""One palette, one set of font sizes and two colormaps, for figures and for the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tapetum.types import Reduce

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # at run time: matplotlib is imported with the first figure


@dataclass(frozen=True)
class Palette:
    """Colours by their use. Every text colour has a contrast of at least 4.5 on `paper` and on `card`."""

    paper: str
    card: str
    ink: str
    muted: str
    line: str
    accent: str
    wash: str
    caution: str


LIGHT = Palette(
    paper="#faf9f6", card="#ffffff", ink="#1b1d1c", muted="#5c625f", line="#dedcd5",
    accent="#0b6e66", wash="#dcebe7", caution="#9a3d12",
)  # fmt: skip
DARK = Palette(
    paper="#121514", card="#1a1e1d", ink="#eceae4", muted="#a3aaa6", line="#323836",
    accent="#5fd0c0", wash="#1f3a36", caution="#f0a57c",
)  # fmt: skip

TITLE_PT = 12.0
LABEL_PT = 9.0
NOTE_PT = 7.5

# Every 15th colour of matplotlib's "inferno" (CC0): perceptually even, and lightest where the map is strongest.
SEQUENTIAL = (
    "#000004", "#0a0722", "#1e0c45", "#380962", "#510e6c", "#69166e", "#801f6c", "#982766", "#b0315b",
    "#c63d4d", "#d94d3d", "#e9612b", "#f47918", "#fa9407", "#fcb014", "#f8cd37", "#f2ea69", "#fcffa4",
)  # fmt: skip
# ColorBrewer's RdBu with blue for "against" and red for "for"; a photo would swallow
# its two darkest ends, which are left out.
DIVERGING = (
    "#2065ab", "#4393c3", "#90c4dd", "#d1e5f0", "#f7f6f6", "#fddbc7", "#f3a481", "#d6604d", "#b1182b",
)  # fmt: skip


@cache
def anchors(kind: Reduce) -> Tensor:
    """Returns the colours (colours, 3) in [0, 1] of a map's scale: diverging for a signed map (`sum`), else sequential."""
    return torch.tensor([rgb(color) for color in (DIVERGING if kind == "sum" else SEQUENTIAL)])


def rgb(color: str) -> tuple[float, float, float]:
    """Converts "#rrggbb" to red, green and blue in [0, 1]."""
    red, green, blue = bytes.fromhex(color[1:])
    return red / 255, green / 255, blue / 255


def as_pixel(color: str) -> Tensor:
    """Converts "#rrggbb" to one pixel (3, 1, 1) in [0, 1]."""
    return torch.tensor(rgb(color))[:, None, None]


def css_variables(palette: Palette) -> str:
    """Returns the palette as CSS custom properties: "--paper: #faf9f6; ..."."""
    return " ".join(f"--{name}: {color};" for name, color in asdict(palette).items())
