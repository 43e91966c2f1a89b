"""Types of parameters that many methods share; each carries its description, so that no docstring repeats it.

    def occlusion(score, images, *, fill: Fill, batch: Batch = "auto") -> Tensor: ...      # neither is in `Args:`

A line in `Args:` replaces the description. The types are those that a body gets; where the argument of a user is converted
first, `keywords.py` has the public type and the default. It also adds `seed` and `fuse`. `Batch` and `Precision` of
`tapetum.types` carry descriptions in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.engines.scan import Ledger, Runner
from tapetum.types import Range, ScoreKind

# --- which layer

LayerName: TypeAlias = Annotated[
    str, "name or None: the last layer that combines several places, such as a convolution (the choice is in `notes`)."
]
PositiveLayer: TypeAlias = Annotated[
    str,
    "name or None: the first layer without negative values from the last that combines several places on (in `notes`).",
]
DetailedLayer: TypeAlias = Annotated[
    str, "name or None: the last module with at least 10 cells per side (14 x 14 in most networks; in `notes`)."
]
ConvolutionName: TypeAlias = Annotated[str, "name of a convolution; None: the first that runs."]
MapLayers: TypeAlias = Annotated[
    Sequence[str] | str | None, "names or globs of layers with a map; None: five from early to deep."
]
BlockLayers: TypeAlias = Annotated[
    Sequence[str] | str | None, "names or globs of layers with a map; None: the output of every block."
]

# --- randomness

Seed: TypeAlias = Annotated[int, "random seed."]
Generator: TypeAlias = Annotated[torch.Generator | None, "random generator, in place of the seed."]
Tolerance: TypeAlias = Annotated[
    float | None,
    Range(1e-6, 1),
    "stop an image when its standard error, averaged over places or segments, is below this share of the largest magnitude; "
    "checked every 16 samples, whose number is then the most.",
]

Copies: TypeAlias = Annotated[int, Range(1, 10_000), "noisy copies of the image; SmoothGrad's paper: 50."]
Sigma: TypeAlias = Annotated[
    float, Range(0, 2), "standard deviation of the noise as a share of the image's range; SmoothGrad's paper: 0.1 to 0.2."
]

# --- what is hidden

Fill: TypeAlias = Annotated[
    Tensor,
    "replacement of hidden pixels: zero (the mean colour of a normalised model), mean, black, white, blur, noise, a number, a "
    "tensor.",
]
AnyFill: TypeAlias = Annotated[
    Tensor | float | str,
    "replacement of hidden pixels: zero (as in the paper), mean, black, white, blur, noise, a number, a tensor.",
]
MixedIn: TypeAlias = Annotated[
    Tensor | float | str,
    "what is mixed in: zero (as in the paper), mean, black, white, blur, noise, a number, a tensor.",
]
Baseline: TypeAlias = Annotated[
    Tensor,
    "reference image x0: zero (the mean colour of a normalised model), mean, black, white, blur, noise, a number, a tensor.",
]
Segments: TypeAlias = Annotated[Tensor, "slic, quickshift, felzenszwalb, grid, or labels (h, w) or (n, h, w)."]
NumberOfSegments: TypeAlias = Annotated[int, Range(1, 10_000), "about how many; quickshift finds its own number."]

# --- how far an attack may go

Budgets: TypeAlias = Annotated[
    float | str | Sequence[float | str],
    'size of the change in units of pixels, in [0, 1]: a number, a text such as "4/255", or several, for a curve.',
]
BudgetNorm: TypeAlias = Annotated[
    Literal["inf", "2"], "size that eps limits: inf, the largest change of a value, or 2, the root of the sum of squares."
]
Truth: TypeAlias = Annotated[
    int | str | Sequence[int | str] | None, "true classes, which the attack leaves; None: it leaves the network's own answers."
]

# --- optimised pictures

SideOfNoise: TypeAlias = Annotated[
    int | str | tuple[int, int] | None,
    'side in px, or (height, width), "96x160"; None: 128, or the network\'s own size where it takes no other.',
]
SideOfPhotograph: TypeAlias = Annotated[
    int | str | tuple[int, int] | None, 'side in px, or (height, width), "96x160"; None: the photograph\'s own.'
]
LongestSide: TypeAlias = Annotated[int, Range(32, 8192), "the longer side is made no larger, without `size`."]
AscentSteps: TypeAlias = Annotated[int, Range(1, 100_000), "steps of ascent; None: the preset's (256)."] | None
Preset: TypeAlias = Annotated[str, "a recipe by name: best (clear), standard, bold, maco, cppn, lucid, pixel, plain..."]
Parametrization: TypeAlias = Annotated[
    Any,
    'form of the pictures: "fourier", "pixel", "cppn", "maco", "gan:FILE"..., or one of `tp.parametrizations`; None: the '
    "preset's.",
]
Transforms: TypeAlias = Annotated[
    Any,
    'random changes: "standard", "lucid", "none", or a list of `tp.transforms`; None: the preset\'s.',
]
Frames: TypeAlias = Annotated[
    Sequence[int] | int, "steps whose pictures are kept, or how many, evenly; 0 is the picture before the first step."
]

# --- passes over a data set

Workers: TypeAlias = Annotated[int | None, "threads, each with a pass of its own; None: one per core."]
OtherRunner: TypeAlias = Annotated[Runner | None, "another runner, such as `tapetum.runners.Ray`."]
ShardFolder: TypeAlias = Annotated[
    str | Path | Ledger | None,
    'a folder, or a URL such as "s3://bucket/scan", for finished shards: a killed run continues there, with at most one shard '
    "per worker lost.",
]
Resume: TypeAlias = Annotated[bool, "False: what an earlier run has kept is made again."]
PassBatch: TypeAlias = Annotated[int, Range(1, 100_000), "pictures per pass: fixed, since it decides the last bits."]
Limit: TypeAlias = Annotated[int, Range(1, 1_000_000_000), "only so many pictures, from the start."] | None
UnitScore: TypeAlias = Annotated[ScoreKind, "a unit's score on a picture: max, over the places of its map, or mean."]
