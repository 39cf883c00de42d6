"""The report of a run and the sentence it opens with."""

import json
import re

import pandas as pd
import pytest
from prediction_tables import evaluated, evaluated_run, predictions

from breastus.errors import UndefinedMetricWarning
from breastus.reporting.figures.plots import save_figures
from breastus.reporting.report import write_report
from breastus.reporting.result_sentence import sentence
from breastus.utils.files import jsonable


def test_the_sentence_says_the_counts():
    metrics = evaluated()
    (cleared, _), (_, found) = metrics["test"]["confusion_matrix"]
    text = sentence(metrics)
    assert f"found {found} of 40 lumps" in text
    assert f"cleared {cleared} of 30 images without a lump" in text
    assert "better than guessing" in text
    guess = sentence(evaluated({"test": predictions(shift=0.0)}))
    assert "may be no better than guessing" in guess


def test_the_sentence_says_when_everything_is_called_lump():
    table = predictions()
    table["probability"] = 0.5 + table["probability"] / 2
    with pytest.warns(UndefinedMetricWarning, match="test: Undefined"):
        text = sentence(evaluated({"test": table}))
    assert "calls every image lump" in text


def test_the_sentence_is_the_same_from_json_and_says_what_is_undefined():
    metrics = evaluated()
    assert sentence(json.loads(json.dumps(jsonable(metrics), allow_nan=False))) == sentence(metrics)
    with pytest.warns(UndefinedMetricWarning):
        metrics = evaluated({"test": predictions(others=0)})
    assert "ROC-AUC undefined" in sentence(json.loads(json.dumps(jsonable(metrics))))


def report(tmp_path, metrics, tables):
    history = pd.DataFrame(
        {
            "epoch": [1, 2],
            "loss": [0.7, 0.5],
            "val_loss": [0.6, 0.6],
            "accuracy": [0.5, 0.8],
            "val_accuracy": [0.6, 0.7],
        }
    )
    figures = save_figures(
        tmp_path / "figures", metrics=metrics, predictions=tables, history=history
    )
    write_report(
        tmp_path / "report.html",
        metrics=metrics,
        config={
            "model": {"name": "cnn", "image_size": 224},
            "preprocessing": {"color": "plain"},
            "seed": 0,
        },
        environment={"data_fingerprint": "ab" * 32, "command": "breastus train <cnn>"},
        notices=["It has never seen a patient."],
        data_summary="70 images",
        worst=[("x/<image>", b"\x89PNG", "is lump")],
        figures=figures,
    )
    return (tmp_path / "report.html").read_text()


def test_the_report_is_one_file_that_opens_with_the_answer(tmp_path):
    tables = {"val": predictions("val", seed=1), "test": predictions()}
    metrics, tables = evaluated_run(tables)
    html = report(tmp_path, metrics, tables)
    assert html.index("It has never seen a patient.") < html.index("On 70 test images")
    assert html.index("On 70 test images") < html.index("<table")
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "<script" not in html
    assert "<image>" not in html  # names are escaped
    assert "not a medical device" in html
    assert "The published study" in html
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert {"confusion.png", "roc.png", "precision_recall.png", "history.png"} <= set(pictures)


def test_a_report_of_one_class_is_still_written(tmp_path):
    tables = {"val": predictions("val"), "test": predictions(others=0)}
    with pytest.warns(UndefinedMetricWarning):
        metrics, tables = evaluated_run(tables)
    assert "undefined" in report(tmp_path, metrics, tables)


def test_the_report_says_what_is_made_of_the_probabilities(tmp_path):
    metrics, tables = evaluated_run({"val": predictions("val", seed=1), "test": predictions()})
    html = report(tmp_path, metrics, tables)
    assert "Calibration: temperature" in html
    assert "Youden" in html
    assert "Referred to a reader" in html
    assert html.count("benign") > 0
    pictures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"decision_curve.png", "subgroups.png"} <= pictures
    # The decision is validation's: other test images change nothing of it.
    other, _ = evaluated_run({"val": predictions("val", seed=1), "test": predictions(seed=7)})
    assert other["decision"] == metrics["decision"]
