"""The sentence that a page of scores opens with says the most important thing, and no more."""

import math

import pytest

from breastus.reporting.format import p_value
from breastus.reporting.render import sentence


def score(value, low=None, high=None):
    return {"value": value, "ci_low": low, "ci_high": high}


def headline(*, auc=(0.9, 0.8, 0.95), differences=None, twins=0, parts=(), runs=1):
    baselines = {
        name: {"metrics": {"roc_auc": {"difference": score(*one)}}}
        for name, one in (differences or {}).items()
    }
    metrics = {
        "roc_auc": score(*auc),
        "baselines": baselines,
        "twins": {"images": twins},
        "n": 100,
        "runs": runs,
    }
    parts = [{"roc_auc": score(value)} for value in parts]
    return sentence("text/score_headline.txt.j2", metrics=metrics, parts=parts)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "The entry ranks the images better than guessing."),
        ({"auc": (0.55, 0.45, 0.65)}, "The entry is not shown to be better than guessing."),
        ({"auc": (0.9, None, None)}, "There are too few groups of a class for an interval."),
        (
            {"differences": {"a": (0.1, 0.05, 0.15), "b": (0.2, 0.1, 0.3)}},
            "The entry ranks the images better than a and b.",
        ),
        (
            {"differences": {"a": (0.1, -0.01, 0.15), "b": (0.2, 0.1, 0.3)}},
            "The entry ranks the images better than guessing; it is not shown to be better than a.",
        ),
        ({"differences": {"a": (-0.1, -0.2, -0.05)}}, "The entry ranks the images worse than a."),
        (
            {"differences": {"a": (0.1, None, None)}, "runs": 3},
            "The entry ranks the images better than guessing; it is not shown to be better than a.",
        ),
        (
            {"twins": 40, "parts": (0.98, 0.6), "differences": {"a": (0.1, 0.05, 0.15)}},
            "40 of 100 test images have a twin in training: ROC-AUC is 0.98 on these and 0.60 on "
            "the others.",
        ),
        (
            {"twins": 40, "parts": (0.98, math.nan)},
            "40 of 100 test images have a twin in training: the scores may be optimistic.",
        ),
    ],
)
def test_the_headline(values, text):
    assert headline(**values) == text


def test_p_values():
    assert [p_value(p) for p in (0.76431, 0.001, 0.00099, 0.0, math.nan)] == [
        "p = 0.764",
        "p = 0.001",
        "p < 0.001",
        "p < 0.001",
        "p = undefined",
    ]
