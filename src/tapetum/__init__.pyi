# The one list of public names, for `__init__.py`, which imports each from here when it is used, and for type checkers.
# isort: skip_file
# fmt: off

from collections.abc import Callable
from typing import Any

from tapetum.atlas.activation_atlas import activation_atlas as activation_atlas
from tapetum.border.methods import (
    attribution as attribution, inspection as inspection, metric as metric, rendering as rendering, survey as survey,
)
from tapetum.border.running import run as run
from tapetum.course.by_hand.filters import filter_image as filter_image, toy_selectivity as toy_selectivity
from tapetum.course.by_hand.grad_cam import grad_cam_by_hand as grad_cam_by_hand
from tapetum.course.by_hand.kernels import output_size as output_size
from tapetum.data.digits import digits as digits
from tapetum.data.images import read_image as read_image
from tapetum.data.planted import planted as planted, Planted as Planted
from tapetum.data.streams import as_source as as_source
from tapetum.engines.probe import capture as capture, edit as edit
from tapetum.engines.render import (
    objectives as objectives, parametrizations as parametrizations, sheet as sheet, transforms as transforms,
)
from tapetum.engines.resume import resume as resume
from tapetum.engines.scan.trackers import (
    CoActivation as CoActivation, Counts as Counts, Moments as Moments, Positions as Positions, Scores as Scores,
    Sparsity as Sparsity, Spectrum as Spectrum, TopK as TopK,
)
from tapetum.engines.scores import as_score as as_score
from tapetum.families.attacks.disturbance import disturbance as disturbance
from tapetum.families.attacks.repair import shortest_repair as shortest_repair
from tapetum.families.circuits.circuit import circuit as circuit
from tapetum.families.circuits.expanded import expanded_weights as expanded_weights
from tapetum.families.circuits.planted import planted_circuit as planted_circuit
from tapetum.families.comparing.aligning import cka as cka
from tapetum.families.comparing.comparing import compare as compare
from tapetum.families.comparisons import compare_maps as compare_maps
from tapetum.families.dictionaries.concepts import concepts as concepts
from tapetum.families.concept_tests.craft import craft as craft
from tapetum.families.concept_tests.prototypes import Prototypes as Prototypes, prototypes as prototypes
from tapetum.families.concept_tests.tcav import tcav as tcav
from tapetum.families.exams.networks import exam_networks as exam_networks, ExamNetwork as ExamNetwork
from tapetum.families.exams.of_methods import exam_methods as exam_methods
from tapetum.families.exams.of_metrics import exam_metrics as exam_metrics
from tapetum.families.filters.comparison import untrained as untrained
from tapetum.families.health.doctor import doctor as doctor
from tapetum.families.inspections import predict as predict
from tapetum.families.localization import (
    localization_auc as localization_auc, pointing_game as pointing_game, relevance_mass as relevance_mass,
    relevance_rank as relevance_rank, top_k_intersection as top_k_intersection,
)
from tapetum.families.metrics.evaluating import evaluate as evaluate
from tapetum.families.sanity import sanity_check as sanity_check
from tapetum.families.nearness import near_classes as near_classes
from tapetum.families.audits.auditing import audit as audit
from tapetum.families.audits.repairs import Repair as Repair
from tapetum.families.audits.suppressing import suppress as suppress
from tapetum.families.rankings.ranking import rank_methods as rank_methods
from tapetum.families.scanning import scan as scan
from tapetum.families.spectra import activation_spectrum as activation_spectrum, top_examples as top_examples
from tapetum.families.subnetworks.cutting import subnetwork as subnetwork
from tapetum.families.subnetworks.masks import (
    Faithfulness as Faithfulness, mask_faithfulness as mask_faithfulness, mask_overlap as mask_overlap,
    MaskOverlap as MaskOverlap, unit_mask as unit_mask,
)
from tapetum.families.subnetworks.scores import unit_scores as unit_scores
from tapetum.families.verdicts import judge as judge
from tapetum.figures import animate as animate, draw as draw, show as show
from tapetum.models.patches import Patch as Patch
from tapetum.models.vision_model import VisionModel as VisionModel
from tapetum.models.zoo import known_models as known_models, load as load, wrap as wrap
from tapetum.progress import Progress as Progress, watching as watching
from tapetum.registry import lookup as lookup, methods as methods
from tapetum.reports.job import explain as explain
from tapetum.reports.reproducing import reproduce as reproduce
from tapetum.store import open as open, save as save
from tapetum.studios.serve import studio as studio
from tapetum.training import check_predictions as check_predictions, fine_tune as fine_tune, train as train
from tapetum.types import (
    Answer as Answer, Attack as Attack,
    ActivationAtlas as ActivationAtlas, ActivationMaps as ActivationMaps, AnyOf as AnyOf, Attribution as Attribution,
    Circuit as Circuit, CircuitEdge as CircuitEdge, CircuitNode as CircuitNode, CircuitTest as CircuitTest,
    CircuitTruth as CircuitTruth, ExpandedWeights as ExpandedWeights, CircuitCurve as CircuitCurve,
    CircuitExample as CircuitExample, CircuitLooks as CircuitLooks,
    Box as Box, Cancelled as Cancelled, ColorChannels as ColorChannels, Comparison as Comparison,
    Concept as Concept, ConceptRelevance as ConceptRelevance, Concepts as Concepts,
    ConsistentChannels as ConsistentChannels, contrast as contrast, Contrast as Contrast, Crop as Crop,
    DepthCurve as DepthCurve, FiveAnswers as FiveAnswers,
    DepthProperties as DepthProperties, Diagnosis as Diagnosis, Disturbance as Disturbance,
    Epoch as Epoch, Evaluation as Evaluation, Example as Example, Finding as Finding,
    FilterComparison as FilterComparison, FilteredPicture as FilteredPicture, FilterResponses as FilterResponses,
    Filters as Filters, FilterSpecialization as FilterSpecialization, GradCamSteps as GradCamSteps, History as History,
    InformationByDepth as InformationByDepth, Layer as Layer, LayerAlignment as LayerAlignment,
    LayerProgression as LayerProgression, LayerTable as LayerTable,
    Localization as Localization, log_probability as log_probability, logit as logit, MapComparison as MapComparison,
    Audit as Audit, Suspicion as Suspicion, Receipt as Receipt, Recovery as Recovery, Property as Property,
    ClassComponent as ClassComponent, MistakeConcept as MistakeConcept, RelevanceCluster as RelevanceCluster,
    Attempt as Attempt, Effects as Effects,
    MeanActivations as MeanActivations, MethodExam as MethodExam, MethodRanking as MethodRanking, MetricExam as MetricExam,
    Near as Near, Number as Number, OcclusionProbe as OcclusionProbe, Output as Output, PathCheck as PathCheck,
    Prediction as Prediction, PredictionCheck as PredictionCheck, PreprocessingSteps as PreprocessingSteps,
    probability as probability, Provenance as Provenance, ReceptiveFields as ReceptiveFields, Region as Region,
    Rendering as Rendering, Result as Result, Run as Run, Sanity as Sanity, Scaled as Scaled, ScanResult as ScanResult,
    ShapeTexture as ShapeTexture,
    ShortestRepair as ShortestRepair,
    Similarity as Similarity,
    SpectrumResult as SpectrumResult, TapetumError as TapetumError, TapetumWarning as TapetumWarning,
    Craft as Craft, Tcav as Tcav,
    Decisions as Decisions,
    TopExamples as TopExamples, ToySelectivity as ToySelectivity, union as union, Unit as Unit, UnitExamples as UnitExamples,
    UnitNames as UnitNames, UnitSpectra as UnitSpectra, UnitSpectrum as UnitSpectrum, Verdict as Verdict, Verdicts as Verdicts,
)

__version__: str

def __getattr__(name: str) -> Callable[..., Any]: ...  # every method of the registry
