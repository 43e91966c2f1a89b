"""Types that all of tapetum uses: aliases, targets, and one frozen dataclass per kind of result. No network code."""

# pyright: reportUnusedImport=false
from tapetum.types.activation_maps import ActivationMaps
from tapetum.types.alignments import LayerAlignment
from tapetum.types.answers import Answer, DepthCurve, FiveAnswers
from tapetum.types.atlases import ActivationAtlas, MapCell
from tapetum.types.attacks import Attack, Disturbance, ShortestRepair
from tapetum.types.attributions import Attribution, Reduce, Status
from tapetum.types.audits import CUE_WORDS, Audit, Receipt, Suspicion
from tapetum.types.cam_steps import GradCamSteps
from tapetum.types.circuits import (
    Circuit,
    CircuitCurve,
    CircuitEdge,
    CircuitExample,
    CircuitLooks,
    CircuitNode,
    CircuitTest,
    CircuitTruth,
    ExpandedWeights,
)
from tapetum.types.comparing import ChangedPrediction, Comparison, SeedNull, SplitGroup, UnitMatches
from tapetum.types.concept_tests import Craft, Tcav
from tapetum.types.concepts import ConceptRelevance
from tapetum.types.consistency import ConsistentChannels
from tapetum.types.crops import Crop
from tapetum.types.cues import ShapeTexture
from tapetum.types.decisions import ClassPrototypes, Decisions
from tapetum.types.depth import DepthProperties, LayerProgression, LayerTable, MeanActivations, OcclusionProbe, ReceptiveFields
from tapetum.types.diagnoses import SEVERITIES, Diagnosis, Finding, Severity
from tapetum.types.dictionaries import Concepts, Dictionary, DictionaryNumbers, Recovery
from tapetum.types.evaluations import Better, Evaluation
from tapetum.types.exams import MethodExam, MetricExam
from tapetum.types.explanations import Explanation
from tapetum.types.filters import FilterComparison, FilteredPicture, FilterResponses, Filters, ToySelectivity
from tapetum.types.histograms import Histogram, HistogramResult
from tapetum.types.localization import Localization
from tapetum.types.looks import ClassComponent, MistakeConcept, Property, RelevanceCluster
from tapetum.types.map_comparison import MapComparison, names_of_maps
from tapetum.types.methods import Batch, FourQuestions, Kind, Method, Precision, Range, Takes
from tapetum.types.models import ImagesLike, Layer, Layers, ModelLike, Near, Number, Prediction
from tapetum.types.photographs import ColorChannels, PreprocessingStep, PreprocessingSteps, PreprocessingWay
from tapetum.types.rankings import MethodRanking
from tapetum.types.refusals import (
    Cancelled,
    DamagedError,
    ImageError,
    LayerError,
    MethodError,
    ModelError,
    TapetumError,
    TapetumWarning,
    TargetError,
    TrainingError,
    UnwritableError,
)
from tapetum.types.renderings import Made, PathCheck, Rendering
from tapetum.types.repairs import Attempt, Effects
from tapetum.types.results import Result
from tapetum.types.runs import Provenance, Run
from tapetum.types.sanity import Sanity
from tapetum.types.scans import GROUPS, Example, Group, Ranking, ScanResult, ScoreKind, SpectrumResult, TopKResult
from tapetum.types.scores import Score
from tapetum.types.spectra import OfDataSet, TopExamples, UnitExamples, UnitSpectra, UnitSpectrum
from tapetum.types.studies import FilterSpecialization, InformationByDepth, Study
from tapetum.types.targets import (
    AnyOf,
    Box,
    Concept,
    Contrast,
    Output,
    Outputs,
    Region,
    Scale,
    Scaled,
    Similarity,
    TargetLike,
    Unit,
    contrast,
    log_probability,
    logit,
    probability,
    union,
)
from tapetum.types.training import Epoch, History, PredictionCheck
from tapetum.types.unit_names import NameSource, UnitNames
from tapetum.types.unit_statistics import CoActivationResult, MomentsResult, PositionsResult, ScoresResult, SparsityResult
from tapetum.types.verdicts import Verdict, Verdicts
