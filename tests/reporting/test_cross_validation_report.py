"""The report of a cross-validation opens with a verdict."""

import math

import pytest

from breastus.reporting.texts import verdict


def measured(**changes):
    """Metrics of 673 images, as `evaluate_folds` has them."""
    entry = {"value": 0.9, "ci_low": 0.87, "ci_high": 0.94}
    return {
        "n": [673],
        "n_groups": 523,
        "folds": 5,
        "repeats": 1,
        "val_rotations": 1,
        "confidence": 0.95,
        "confusion_matrix": [[98.0, 5.0], [56.0, 514.0]],
        "sensitivity": entry,
        "specificity": {"value": 0.95, "ci_low": 0.89, "ci_high": 0.99},
        "roc_auc": {"value": 0.96, "ci_low": 0.93, "ci_high": 0.98},
        **changes,
    }


def test_it_says_what_was_found_and_how_far_to_trust_it():
    text = verdict(measured())
    for part in (
        "673 images of 523 patients or scenes",
        "514 of 570 lumps (sensitivity 90 %, 87 to 94 %)",
        "98 of 103 images without a lump (specificity 95 %, 89 to 99 %)",
        "ROC-AUC 0.96, 0.93 to 0.98",
        "In 5 folds",
        "better than guessing",
    ):
        assert part in text


def test_of_several_repeats_counts_are_means():
    text = verdict(
        measured(repeats=3, val_rotations=4, confusion_matrix=[[97.0, 6.0], [169 / 3, 1541 / 3]])
    )
    assert "513.7 of 570 lumps" in text
    assert "97 of 103 images" in text
    assert "3 repeats of 5 folds" in text
    assert "4 networks of a fold" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"roc_auc": {"value": 0.55, "ci_low": 0.45, "ci_high": 0.6}},
            "may be no better than guessing",
        ),
        (
            {"roc_auc": {"value": 0.55, "ci_low": math.nan, "ci_high": math.nan}},
            "ROC-AUC 0.55. The 95 % intervals are undefined",
        ),
        ({"confusion_matrix": [[30.0, 5.0], [56.0, 514.0]]}, "only 35 images without a lump"),
        ({"confusion_matrix": [[0.0, 103.0], [0.0, 570.0]]}, "Every image is classified as lump: "),
        (
            {"confusion_matrix": [[103.0, 0.0], [570.0, 0.0]]},
            "classified as no lump: ",
        ),
    ],
)
def test_it_names_what_limits_the_result(changes, expected):
    assert expected in verdict(measured(**changes))
