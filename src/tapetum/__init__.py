"""tapetum: what a vision network looks for, what it found, what mattered, and whether to trust it.

    import tapetum as tp

    model = tp.load("efficientnet_lite0")
    images = model.preprocess(tp.read_image("cat.jpg"))
    tp.grad_cam(model, images, target="tabby").heatmap()

Every method of the registry is here under its name (`tp.methods()` lists them). `import tapetum` is quick: what a name
needs is imported when the name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tapetum.types import (
    ActivationAtlas,
    ActivationMaps,
    AnyOf,
    Attribution,
    Box,
    Cancelled,
    ColorChannels,
    ConceptRelevance,
    ConsistentChannels,
    Contrast,
    Crop,
    DepthProperties,
    Epoch,
    Evaluation,
    Example,
    FilterComparison,
    FilteredPicture,
    FilterResponses,
    Filters,
    FilterSpecialization,
    GradCamSteps,
    History,
    InformationByDepth,
    Layer,
    LayerProgression,
    LayerTable,
    Localization,
    MapComparison,
    MeanActivations,
    Number,
    OcclusionProbe,
    Output,
    Prediction,
    PredictionCheck,
    PreprocessingSteps,
    Provenance,
    ReceptiveFields,
    Region,
    Rendering,
    Run,
    Scaled,
    ScanResult,
    Similarity,
    SpectrumResult,
    TapetumError,
    TapetumWarning,
    TopExamples,
    ToySelectivity,
    Unit,
    UnitExamples,
    UnitSpectra,
    UnitSpectrum,
    contrast,
    log_probability,
    logit,
    probability,
    union,
)

if TYPE_CHECKING:
    from tapetum.atlas.activation_atlas import activation_atlas
    from tapetum.border.running import run
    from tapetum.course.by_hand.filters import filter_image, toy_selectivity
    from tapetum.course.by_hand.grad_cam import grad_cam_by_hand
    from tapetum.course.by_hand.kernels import output_size
    from tapetum.data.digits import digits
    from tapetum.data.images import read_image
    from tapetum.data.planted import Planted, planted
    from tapetum.data.streams import as_source
    from tapetum.engines.probe import capture, edit
    from tapetum.engines.render import sheet
    from tapetum.engines.resume import resume
    from tapetum.engines.scan.trackers import CoActivation, Counts, Moments, Positions, Scores, Sparsity, Spectrum, TopK
    from tapetum.engines.scores import as_score
    from tapetum.families.comparisons import compare_maps
    from tapetum.families.filters.comparison import untrained
    from tapetum.families.inspections import predict
    from tapetum.families.localization import pointing_game, relevance_mass, relevance_rank
    from tapetum.families.metrics import evaluate
    from tapetum.families.scanning import scan
    from tapetum.families.spectra import activation_spectrum, top_examples
    from tapetum.figures import animate, draw, show
    from tapetum.models.vision_model import VisionModel
    from tapetum.models.zoo import known_models, load, wrap
    from tapetum.progress import Progress, watching
    from tapetum.reports.job import explain
    from tapetum.reports.reproducing import reproduce
    from tapetum.store import open, save
    from tapetum.training import check_predictions, fine_tune, train

_HOMES = {
    "activation_atlas": "tapetum.atlas.activation_atlas",
    "animate": "tapetum.figures",
    "Counts": "tapetum.engines.scan.trackers",
    "Sparsity": "tapetum.engines.scan.trackers",
    "Scores": "tapetum.engines.scan.trackers",
    "Positions": "tapetum.engines.scan.trackers",
    "Moments": "tapetum.engines.scan.trackers",
    "CoActivation": "tapetum.engines.scan.trackers",
    "Spectrum": "tapetum.engines.scan.trackers",
    "TopK": "tapetum.engines.scan.trackers",
    "as_score": "tapetum.engines.scores",
    "as_source": "tapetum.data.streams",
    "activation_spectrum": "tapetum.families.spectra",
    "top_examples": "tapetum.families.spectra",
    "VisionModel": "tapetum.models.vision_model",
    "Progress": "tapetum.progress",
    "check_predictions": "tapetum.training",
    "fine_tune": "tapetum.training",
    "train": "tapetum.training",
    "capture": "tapetum.engines.probe",
    "Planted": "tapetum.data.planted",
    "digits": "tapetum.data.digits",
    "planted": "tapetum.data.planted",
    "compare_maps": "tapetum.families.comparisons",
    "pointing_game": "tapetum.families.localization",
    "relevance_mass": "tapetum.families.localization",
    "relevance_rank": "tapetum.families.localization",
    "draw": "tapetum.figures",
    "edit": "tapetum.engines.probe",
    "evaluate": "tapetum.families.metrics",
    "grad_cam_by_hand": "tapetum.course.by_hand.grad_cam",
    "explain": "tapetum.reports.job",
    "filter_image": "tapetum.course.by_hand.filters",
    "known_models": "tapetum.models.zoo",
    "load": "tapetum.models.zoo",
    "open": "tapetum.store",
    "output_size": "tapetum.course.by_hand.kernels",
    "predict": "tapetum.families.inspections",
    "read_image": "tapetum.data.images",
    "reproduce": "tapetum.reports.reproducing",
    "resume": "tapetum.engines.resume",
    "run": "tapetum.border.running",
    "save": "tapetum.store",
    "scan": "tapetum.families.scanning",
    "sheet": "tapetum.engines.render",
    "show": "tapetum.figures",
    "toy_selectivity": "tapetum.course.by_hand.filters",
    "untrained": "tapetum.families.filters.comparison",
    "watching": "tapetum.progress",
    "wrap": "tapetum.models.zoo",
}

_MODULES = {
    "objectives": "tapetum.engines.render.objectives",
    "parametrizations": "tapetum.engines.render.parametrizations",
    "transforms": "tapetum.engines.render.transforms",
}
"""The parts of which renderings are made, each a module of its own: `tp.objectives.channel("layer4", 7)`."""

__all__ = [
    "ActivationAtlas", "ActivationMaps", "AnyOf", "Attribution", "Box", "Cancelled", "CoActivation", "ColorChannels",
    "ConceptRelevance", "ConsistentChannels", "Contrast", "Counts", "Crop", "DepthProperties", "Epoch", "Evaluation", "Example",
    "FilterComparison", "FilterResponses", "FilterSpecialization", "FilteredPicture", "Filters", "GradCamSteps",
    "History", "InformationByDepth", "Layer", "LayerProgression", "LayerTable", "Localization", "MapComparison",
    "MeanActivations", "Moments", "Number", "OcclusionProbe", "Output", "Planted", "Positions", "Prediction", "PredictionCheck",
    "PreprocessingSteps", "Progress", "Provenance", "ReceptiveFields", "Region", "Rendering", "Run", "Scaled",
    "ScanResult", "Scores", "Similarity", "Sparsity", "Spectrum", "SpectrumResult", "TapetumError", "TapetumWarning",
    "TopExamples", "TopK", "ToySelectivity", "Unit", "UnitExamples", "UnitSpectra", "UnitSpectrum", "VisionModel",
    "activation_atlas", "activation_spectrum", "animate", "as_score", "as_source", "capture", "check_predictions",
    "compare_maps", "contrast", "digits", "draw", "edit", "evaluate", "explain", "filter_image", "fine_tune",
    "grad_cam_by_hand", "known_models", "load", "log_probability", "logit", "lookup", "methods", "open",
    "output_size", "planted", "pointing_game", "predict", "probability", "read_image", "relevance_mass",
    "relevance_rank", "reproduce", "resume", "run", "save", "scan", "sheet", "show", "top_examples",
    "toy_selectivity", "train", "union", "untrained", "watching", "wrap",
]  # fmt: skip


def methods(**only: Any) -> Any:
    """Every method as a table; `kind=` (attribution, rendering, metric, inspection) and `family=` select."""
    registry = _registry()
    return registry.methods(**only)


def lookup(name: str) -> Any:
    """The registry's row of that name; a `TapetumError` names close ones."""
    return _registry().lookup(name)


def _registry() -> Any:
    importlib.import_module("tapetum.families")
    return importlib.import_module("tapetum.registry")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if not name.startswith("_"):
        for method in _registry().methods():
            if method.name == name:
                return method.function
    raise AttributeError(f"module 'tapetum' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, *(method.name for method in methods())])
