"""The nouns of tapetum: aliases, targets, and one frozen dataclass per kind of result. No network code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, NamedTuple, Protocol, SupportsIndex, TypeAlias, get_args, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tapetum.types.atlases import (
    ActivationAtlas as ActivationAtlas,
)
from tapetum.types.atlases import (
    MapCell as MapCell,
)
from tapetum.types.cam_steps import (
    GradCamSteps as GradCamSteps,
)
from tapetum.types.checks import checked_choice, checked_size, cut, rows_of
from tapetum.types.concepts import (
    ConceptRelevance as ConceptRelevance,
)
from tapetum.types.consistency import (
    ConsistentChannels as ConsistentChannels,
)
from tapetum.types.depth import (
    DepthProperties as DepthProperties,
)
from tapetum.types.depth import (
    DepthRow as DepthRow,
)
from tapetum.types.depth import (
    Field as Field,
)
from tapetum.types.depth import (
    LayerProgression as LayerProgression,
)
from tapetum.types.depth import (
    LayerRow as LayerRow,
)
from tapetum.types.depth import (
    LayerTable as LayerTable,
)
from tapetum.types.depth import (
    MeanActivations as MeanActivations,
)
from tapetum.types.depth import (
    OcclusionProbe as OcclusionProbe,
)
from tapetum.types.depth import (
    ReceptiveFields as ReceptiveFields,
)
from tapetum.types.drawable import (
    Drawable as Drawable,
)
from tapetum.types.filters import (
    FilterComparison as FilterComparison,
)
from tapetum.types.filters import (
    FilteredPicture as FilteredPicture,
)
from tapetum.types.filters import (
    FilterResponses as FilterResponses,
)
from tapetum.types.filters import (
    Filters as Filters,
)
from tapetum.types.filters import (
    ToySelectivity as ToySelectivity,
)
from tapetum.types.localization import (
    Inside as Inside,
)
from tapetum.types.localization import (
    Localization as Localization,
)
from tapetum.types.localization import (
    LocalizationMetric as LocalizationMetric,
)
from tapetum.types.map_comparison import (
    MapComparison as MapComparison,
)
from tapetum.types.map_comparison import (
    names_of_maps as names_of_maps,
)
from tapetum.types.photographs import (
    ColorChannels as ColorChannels,
)
from tapetum.types.photographs import (
    PreprocessingStep as PreprocessingStep,
)
from tapetum.types.photographs import (
    PreprocessingSteps as PreprocessingSteps,
)
from tapetum.types.photographs import (
    PreprocessingWay as PreprocessingWay,
)
from tapetum.types.photos import Crop as Crop
from tapetum.types.photos import on_photo
from tapetum.types.refusals import (
    Cancelled as Cancelled,
)
from tapetum.types.refusals import (
    DamagedError as DamagedError,
)
from tapetum.types.refusals import (
    ImageError as ImageError,
)
from tapetum.types.refusals import (
    LayerError as LayerError,
)
from tapetum.types.refusals import (
    MethodError as MethodError,
)
from tapetum.types.refusals import (
    ModelError as ModelError,
)
from tapetum.types.refusals import (
    TapetumError as TapetumError,
)
from tapetum.types.refusals import (
    TapetumWarning as TapetumWarning,
)
from tapetum.types.refusals import (
    TargetError as TargetError,
)
from tapetum.types.refusals import (
    TrainingError as TrainingError,
)
from tapetum.types.refusals import (
    UnwritableError as UnwritableError,
)
from tapetum.types.renderings import (
    Made as Made,
)
from tapetum.types.renderings import (
    Rendering as Rendering,
)
from tapetum.types.scans import (
    GROUPS as GROUPS,
)
from tapetum.types.scans import (
    Example as Example,
)
from tapetum.types.scans import (
    Group as Group,
)
from tapetum.types.scans import (
    Histogram as Histogram,
)
from tapetum.types.scans import (
    HistogramResult as HistogramResult,
)
from tapetum.types.scans import (
    Ranking as Ranking,
)
from tapetum.types.scans import (
    ScanResult as ScanResult,
)
from tapetum.types.scans import (
    ScoreKind as ScoreKind,
)
from tapetum.types.scans import (
    SpectrumResult as SpectrumResult,
)
from tapetum.types.scans import (
    TopKResult as TopKResult,
)
from tapetum.types.spectra import (
    OfDataSet as OfDataSet,
)
from tapetum.types.spectra import (
    TopExamples as TopExamples,
)
from tapetum.types.spectra import (
    UnitExamples as UnitExamples,
)
from tapetum.types.spectra import (
    UnitSpectra as UnitSpectra,
)
from tapetum.types.spectra import (
    UnitSpectrum as UnitSpectrum,
)
from tapetum.types.studies import (
    FilterSpecialization as FilterSpecialization,
)
from tapetum.types.studies import (
    InformationByDepth as InformationByDepth,
)
from tapetum.types.studies import (
    Study as Study,
)
from tapetum.types.targets import (
    AnyOf as AnyOf,
)
from tapetum.types.targets import (
    Box as Box,
)
from tapetum.types.targets import (
    Contrast as Contrast,
)
from tapetum.types.targets import (
    Output as Output,
)
from tapetum.types.targets import (
    Outputs as Outputs,
)
from tapetum.types.targets import (
    Region as Region,
)
from tapetum.types.targets import (
    Scale as Scale,
)
from tapetum.types.targets import (
    Scaled as Scaled,
)
from tapetum.types.targets import (
    Similarity as Similarity,
)
from tapetum.types.targets import (
    TargetLike as TargetLike,
)
from tapetum.types.targets import (
    Unit as Unit,
)
from tapetum.types.targets import (
    contrast as contrast,
)
from tapetum.types.targets import (
    log_probability as log_probability,
)
from tapetum.types.targets import (
    logit as logit,
)
from tapetum.types.targets import (
    probability as probability,
)
from tapetum.types.targets import (
    union as union,
)
from tapetum.types.training import (
    Epoch as Epoch,
)
from tapetum.types.training import (
    History as History,
)
from tapetum.types.training import (
    PredictionCheck as PredictionCheck,
)
from tapetum.types.unit_statistics import (
    CoActivationResult as CoActivationResult,
)
from tapetum.types.unit_statistics import (
    Fires as Fires,
)
from tapetum.types.unit_statistics import (
    MomentsResult as MomentsResult,
)
from tapetum.types.unit_statistics import (
    PositionsResult as PositionsResult,
)
from tapetum.types.unit_statistics import (
    ScoresResult as ScoresResult,
)
from tapetum.types.unit_statistics import (
    SparsityResult as SparsityResult,
)

Images: TypeAlias = Float[Tensor, "n c h w"]
"""Model-ready images (normalised the way the model expects). Pictures in [0, 1] are called `pixels`."""

Status: TypeAlias = Literal["ok", "no_positive_evidence", "constant", "non_finite"]
"""What became of one map: `ok`; nothing speaks for the target; no structure at all; NaN or infinity inside."""

Reduce: TypeAlias = Literal["sum", "positive", "max_abs"]
"""How channels become one heatmap: the sum; the sum's positive part (CAMs); the largest magnitude (sensitivities)."""

Batch: TypeAlias = Annotated[int | Literal["auto"], 'images per pass, or "auto".']
"""Images a forward pass; "auto" fits the measured memory of the model to what is free."""

Precision: TypeAlias = Annotated[Literal["exact", "fast"], "exact, or fast (bfloat16 in the network)."]
"""exact: the model's own numbers. fast: bfloat16 in the network (autocast); what a loop optimizes stays as it is."""

FourQuestions: TypeAlias = Literal["looks_for", "found", "mattered", "trust"]


Kind: TypeAlias = Literal["attribution", "metric", "inspection", "rendering"]

Takes: TypeAlias = Literal["images", "pictures", "units", "model"]
"""What a method is asked about besides the model: images, cut and normalised as the model wants them; pictures as they are,
in [0, 1] and at their own size; units of the network; or nothing but the model."""


@dataclass(frozen=True)
class Range:
    """The allowed values of a number, for `Annotated[int, Range(1, 500)]`: checked at the border, shown in CLI and docs."""

    low: int | float
    high: int | float


@runtime_checkable
class Score(Protocol):
    """What is explained: model-ready images (n, c, h, w) to one value per image (n,).

    A score may treat its images differently (each has its own class): `take(rows)` is the score of those images alone,
    in that order, so an engine that repeats or splits a batch says which image each row came from.
    """

    def __call__(self, images: Tensor, /) -> Tensor: ...

    def take(self, rows: Sequence[int], /) -> Score: ...


class Prediction(NamedTuple):
    """One line of a model's answer: class index, name (None without labels), probability in [0, 1]."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] (the contract's name; tuple.index is not missed)
    label: str | None
    probability: float


class Number(NamedTuple):
    """One line of the answer of a model that gives numbers, as in regression: place, name (None without labels), value."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride] (as of a Prediction)
    label: str | None
    value: float


@dataclass(frozen=True)
class Layer:
    """One row of `model.layers()`.

    Shapes and strides are those of the model's own input size. `grid` is the (h, w) of the layer's map, None where its
    output is no map. `receptive_field` and `stride` are theoretical, in input pixels: None where they are not defined
    (after attention or flattening the layer may see everything).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    receptive_field: int | None
    stride: int | None
    grid: tuple[int, int] | None
    channels: int | None
    calls: int = 1


class Layers(tuple[Layer, ...]):
    """Rows of layers that print as a table; "-" where a number is not defined."""

    def __str__(self) -> str:
        head = ("layer", "kind", "shape", "parameters", "receptive field", "stride")
        rows = [head, *(_cells(layer) for layer in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cells(layer: Layer) -> tuple[str, ...]:
    numbers = ("-" if one is None else str(one) for one in (layer.receptive_field, layer.stride))
    return layer.name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.parameters:,}", *numbers


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each place of an image mattered for a target.

    values   (n, c, h, w), signed, at the method's own resolution, on the images' device
    status   one per image; a map whose status is not `ok` is shown as such, never made up
    target   what was explained, one text per image
    explains the same as `as_score` takes it: class indices, contrasts, units, or the callable
    size     (h, w) of the images, what `heatmap(size="input")` returns
    reduce   how this method's channels become a heatmap
    stderr   standard error per pixel for sampled methods, else None
    notes    what a reader must know (a chosen layer, an input that looks unnormalised)
    photos   where each image lies in its photograph; empty where the images did not come from `model.preprocess`
    tried    of `layer="best"`: each layer's insertion - deletion, one per image
    frames   of films and volumes, whose frames are folded into the channels, how many there are; None of images
    """

    values: Tensor
    method: str
    status: tuple[Status, ...]
    target: tuple[str, ...]
    size: tuple[int, int]
    explains: tuple[Any, ...] = ()
    reduce: Reduce = "sum"
    layer: str | None = None
    stderr: Tensor | None = None
    notes: tuple[str, ...] = ()
    tried: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    photos: tuple[Crop, ...] = ()
    frames: int | None = None

    def films(self) -> Tensor:
        """(n, t, h, w): of films and volumes the heatmap of each frame, at the method's own resolution."""
        if self.frames is None:
            raise MethodError(f"this map of {self.method} has no frames of its own: heatmap() is the map of the whole")
        each = self.values.unflatten(1, (-1, self.frames)).transpose(1, 2).flatten(0, 1)
        return _reduced(each, self.reduce).unflatten(0, (-1, self.frames))[:, :, 0]

    def heatmap(
        self,
        size: Literal["input"] | tuple[int, int] | int | None = "input",
        reduce: Reduce | None = None,
        on: Literal["crop", "photo"] | Sequence[Crop] = "crop",
    ) -> Tensor:
        """(n, h, w): channels reduced, then upsampled bilinearly (align_corners=False); `size=None` keeps the method's own.

        on="photo": the map in the pixels of the whole photograph, NaN where the model saw nothing of it; a list of `Crop`
        where only you know how the images were cut.
        """
        how = self.reduce if reduce is None else checked_choice(reduce, get_args(Reduce), "reduce")
        flat = _reduced(self.values, how)
        if not isinstance(on, str) or checked_choice(on, ("crop", "photo"), "on") == "photo":
            return on_photo(flat, self.photos if isinstance(on, str) else on)
        if size is None:
            return flat[:, 0]
        shape = self.size if isinstance(size, str) and size == "input" else checked_size(size)
        return (
            F.interpolate(flat, shape, mode="bilinear", align_corners=False)[:, 0] if flat.shape[-2:] != shape else flat[:, 0]
        )

    def ranking(self, size: Literal["input"] | tuple[int, int] | int | None = "input") -> Tensor:
        """(n, h, w): what orders the pixels from most to least important; signed where the heatmap shows the positive part."""
        return self.heatmap(size, "max_abs" if self.reduce == "max_abs" else "sum")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: SupportsIndex | slice) -> Attribution:
        """The attribution of one image, or of several."""
        rows = rows_of(row, len(self), "map")
        return replace(
            self,
            values=cut(self.values, rows),
            status=self.status[rows],
            target=self.target[rows],
            explains=self.explains[rows],
            stderr=None if self.stderr is None else cut(self.stderr, rows),
            tried={layer: numbers[rows] for layer, numbers in self.tried.items()},
            photos=self.photos[rows],
        )

    def __iter__(self) -> Iterator[Attribution]:
        return (self[row] for row in range(len(self)))


def _reduced(values: Tensor, reduce: Reduce) -> Tensor:
    """(n, 1, h, w)."""
    if reduce == "max_abs":
        return values.abs().amax(1, keepdim=True)
    total = values.sum(1, keepdim=True)
    return total.clamp(min=0) if reduce == "positive" else total


@dataclass(frozen=True, eq=False)
class ActivationMaps(Drawable):
    """What a layer found: maps (n, k, h, w) of chosen channels, their indices (n, k), and the layer they come from."""

    values: Tensor
    channels: Tensor
    layer: str
    size: tuple[int, int]
    by: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line an image: the channels that stand out most, the first one most."""
        h, w = self.values.shape[-2:]
        head = f"{self.layer}, {h} x {w} places, channels by {self.by}:"
        return "\n".join([*(f"{head} {', '.join(map(str, row))}" for row in self.channels.tolist()), *self.notes])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A faithfulness metric of one attribution.

    value      (n,) the area under the curve
    curve      (n, steps + 1) the target's probability after each step, or its score
    fraction   (steps + 1,) the share of pixels changed so far
    better     which direction is good
    measures   "score" where the target has no probability (an output, a unit, a similarity, a callable): in its own units
    """

    metric: str
    value: Tensor
    curve: Tensor
    fraction: Tensor
    better: Literal["higher", "lower"]
    measures: Literal["probability", "score"] = "probability"


@dataclass(frozen=True)
class Provenance:
    """Enough to make a result again: what ran, on what, with what, when, and how long.

    weights   of the model: "default", "random", or their file
    settings  what the model was told besides: class names, size, constants, outputs, further inputs
    subject   units as texts, or the images' files; empty where the images were no files
    files     {file: sha256} of all that was read: images, weights of a generator, ...
    lost      parameters that were objects without a text, or images that were no files: a run cannot be repeated from here
    machine   what can change the last bits: processor, threads
    """

    method: str
    parameters: Mapping[str, Any]
    target: tuple[str, ...]
    model: str
    weights_sha256: str
    images_sha256: str
    seed: int | None
    device: str
    dtype: str
    versions: Mapping[str, str]
    started: str
    seconds: float
    weights: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    subject: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    lost: tuple[str, ...] = ()
    machine: str = ""


@dataclass(frozen=True, eq=False)
class Run:
    """A result and its provenance."""

    value: Any
    provenance: Provenance


@dataclass(frozen=True)
class Method:
    """One row of the registry. Parameters are read from the public function's signature; summary from its docstring."""

    name: str
    family: str
    question: FourQuestions
    function: Callable[..., Any] = field(repr=False)
    cite: str | None
    laws: frozenset[str]
    summary: str
    kind: Kind = "attribution"
    reduce: Reduce = "sum"
    scale: Scale = "logit"
    takes: Takes = "images"


ModelLike: TypeAlias = Any
"""A `VisionModel`, a `torch.nn.Module`, or a name that `load` takes."""

ImagesLike: TypeAlias = Any
"""A model-ready tensor (n, c, h, w), or anything `read_image` takes, or a list of those."""


# Last, since they are made of what stands above.
from tapetum.types.explanations import Explanation as Explanation  # noqa: E402
from tapetum.types.explanations import Judged as Judged  # noqa: E402
from tapetum.types.explanations import Question as Question  # noqa: E402
