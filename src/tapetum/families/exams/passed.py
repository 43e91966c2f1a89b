"""The metrics that passed the exam, which alone may be part of a verdict.

A list, since the exam takes a minute; docs/exam.md has the marks, and a test compares both with a fresh exam.
"""

from __future__ import annotations

PASSED = frozenset(
    {
        "deletion",
        "insertion",
        "pixel_flipping",
        "road",
        "faithfulness_correlation",
        "sensitivity_n",
        "parameter_randomization",
        "smooth_parameter_randomization",
        "efficient_parameter_randomization",
        "relevance_mass",
        "relevance_rank",
        "pointing_game",
        "top_k_intersection",
        "localization_auc",
    }
)
"""Names of the metrics that knew the true map from wrong ones on all six networks (`exam_metrics`)."""
