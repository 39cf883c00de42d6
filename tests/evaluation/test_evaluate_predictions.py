"""From predictions to metrics.json, the sentence, the study's row and the report."""

import json

import numpy as np
import pandas as pd
import pytest
from prediction_tables import evaluated, predictions

from breastus.data.splits.study import STUDY_SIZES
from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.predictions import read_predictions, write_predictions
from breastus.evaluation.published_baseline import published_baseline
from breastus.labels import LABELS
from breastus.utils.files import jsonable


def test_every_metric_has_a_value_and_an_interval():
    metrics = evaluated()
    for split in ("val", "test"):
        assert np.array(metrics[split]["confusion_matrix"]).sum() == 70
        for name in METRICS:
            entry = metrics[split][name]
            assert entry["ci_low"] <= entry["value"] <= entry["ci_high"]
        error = metrics[split]["ece"]
        squares = error["uncorrected"] ** 2 - error["noise"] ** 2
        assert error["value"] == pytest.approx(max(0, squares) ** 0.5)
    text = json.dumps(jsonable(metrics), allow_nan=False)
    assert json.loads(text)["test"]["roc_auc"] == metrics["test"]["roc_auc"]


def test_predictive_values_stand_beside_their_prevalence():
    rare, common = evaluated(prevalence=0.01), evaluated(prevalence=0.4)
    assert (rare["prevalence"], common["prevalence"]) == (0.01, 0.4)
    for part in ("test", "published_baseline"):
        assert rare[part]["ppv"]["value"] < common[part]["ppv"]["value"]
    assert rare["test"]["ppv"]["ci_high"] < common["test"]["ppv"]["ci_low"]


def test_one_class_is_undefined_and_said():
    with pytest.warns(UndefinedMetricWarning):
        metrics = evaluated({"test": predictions(others=0)})
    assert np.isnan(metrics["test"]["roc_auc"]["value"])


def test_the_studys_numbers():
    row = published_baseline("cnn", "plain")
    assert row["n"] == 92
    assert row["accuracy"]["value"] == pytest.approx(73 / 92)
    assert row["sensitivity"]["value"] == pytest.approx(52 / 66)
    assert row["specificity"]["value"] == pytest.approx(21 / 26)
    assert row["precision"]["value"] == pytest.approx(52 / 57)
    assert "roc_auc" not in row
    assert "calibration_slope" not in row
    found, alarms = 0.1 * 52 / 66, 0.9 * 5 / 26
    assert row["ppv"]["value"] == pytest.approx(found / (found + alarms))
    assert published_baseline("resnet50", "plain") is None


@pytest.mark.parametrize(
    ("model", "color", "matrix"),
    [
        ("cnn", "plain", [[21, 5], [14, 52]]),
        ("cnn", "parula", [[13, 13], [6, 60]]),
        ("swin", "plain", [[5, 21], [10, 56]]),
        ("swin", "parula", [[10, 16], [13, 53]]),
    ],
)
def test_the_studys_confusion_matrices(model, color, matrix):
    row = published_baseline(model, color)
    assert row["confusion_matrix"] == matrix
    # Every network was tested on the 26 and 66 images of Table I.
    assert np.sum(matrix, axis=1).tolist() == [STUDY_SIZES[label][2] for label in LABELS]


def test_predictions_come_back_as_they_went(tmp_path):
    table = predictions()
    write_predictions(table, tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "p.csv"), table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="probability"), "lacks the column probability"),
        (lambda t: t.assign(probability=1.5), "must be from 0 to 1. Received: probability='1.5'"),
        (
            lambda t: t.assign(probability="high"),
            "must be from 0 to 1. Received: probability='high'",
        ),
        (lambda t: t.assign(probability=""), "must be from 0 to 1. Received: probability=''"),
        (lambda t: t.assign(label="cyst"), "label must be one of no_lump, lump"),
        (lambda t: pd.concat([t, t.head(1)]), "image_id must be unique"),
    ],
)
def test_damaged_predictions_are_refused(tmp_path, change, message):
    change(predictions()).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "none.csv")
