"""From predictions to metrics.json, the sentence, the study's row and the report."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from breastus.config.schema import EvaluationConfig
from breastus.errors import DataError
from breastus.evaluation.decision.decision import decide
from breastus.evaluation.evaluate_predictions import judgement
from breastus.evaluation.metrics.metrics import METRICS, UndefinedMetricWarning
from breastus.evaluation.predictions import read_predictions, write_predictions
from breastus.evaluation.published_baseline import study_row
from breastus.evaluation.score import evaluate, sentence
from breastus.reporting.figures.plots import save_figures
from breastus.reporting.report import write_report
from breastus.utils.files import jsonable


def predictions(split="test", lumps=40, others=30, seed=0, shift=1.5):
    rng = np.random.default_rng(seed)
    label = np.array(["lump"] * lumps + ["no_lump"] * others)
    score = (label == "lump") * shift + rng.normal(size=len(label)) - shift / 2
    probability = 1 / (1 + np.exp(-score))
    return pd.DataFrame(
        {
            "image_id": [f"x/<image> {split} {i}" for i in range(len(label))],
            "split": split,
            "group_id": [f"g{i // 2}" for i in range(len(label))],
            "finding": np.where(label == "lump", "benign", "normal"),
            "label": label,
            "predicted": np.where(probability >= 0.5, "lump", "no_lump"),
            "probability": probability,
            "raw": np.clip(probability + 0.1 * (probability - 0.5), 0, 1),
        }
    )


def judged_whole(tables):
    """Return metrics as a run has them, and the tables as the decision made of them leaves them."""
    settings = EvaluationConfig(resamples=200)
    decision = decide(tables["val"], settings, seed=0)
    tables = {split: decision.apply(table) for split, table in tables.items()}
    attributes = tables["test"][["image_id"]].assign(source="x", flags="", lesion_share=np.nan)
    metrics = judgement(
        tables,
        decision,
        attributes=attributes,
        model="cnn",
        color="plain",
        settings=settings,
        seed=0,
    )
    return metrics, tables


def judged(tables=None, **options):
    tables = tables or {"val": predictions("val", seed=1), "test": predictions()}
    options = {"model": "cnn", "color": "plain", "threshold": 0.5, **options}
    return evaluate(tables, resamples=200, confidence=0.95, seed=0, **options)


def test_every_metric_has_a_value_and_an_interval():
    metrics = judged()
    for split in ("val", "test"):
        assert np.array(metrics[split]["confusion_matrix"]).sum() == 70
        for name in METRICS:
            entry = metrics[split][name]
            assert entry["ci_low"] <= entry["value"] <= entry["ci_high"]
    text = json.dumps(jsonable(metrics), allow_nan=False)
    assert sentence(json.loads(text)) == sentence(metrics)


def test_predictive_values_stand_beside_their_prevalence():
    rare, common = judged(prevalence=0.01), judged(prevalence=0.4)
    assert (rare["prevalence"], common["prevalence"]) == (0.01, 0.4)
    for part in ("test", "study"):
        assert rare[part]["ppv"]["value"] < common[part]["ppv"]["value"]
    assert rare["test"]["ppv"]["ci_high"] < common["test"]["ppv"]["ci_low"]


def test_the_sentence_says_the_counts():
    metrics = judged()
    (cleared, _), (_, found) = metrics["test"]["confusion_matrix"]
    text = sentence(metrics)
    assert f"found {found} of 40 lumps" in text
    assert f"cleared {cleared} of 30 images without a lump" in text
    assert "better than guessing" in text
    guess = sentence(judged({"test": predictions(shift=0.0)}))
    assert "may be no better than guessing" in guess


def test_the_sentence_says_when_everything_is_called_lump():
    table = predictions()
    table["probability"] = 0.5 + table["probability"] / 2
    with pytest.warns(UndefinedMetricWarning, match="test: Undefined"):
        text = sentence(judged({"test": table}))
    assert "calls every image lump" in text


def test_one_class_is_undefined_and_said():
    with pytest.warns(UndefinedMetricWarning):
        metrics = judged({"test": predictions(others=0)})
    assert np.isnan(metrics["test"]["roc_auc"]["value"])
    text = sentence(json.loads(json.dumps(jsonable(metrics))))
    assert "ROC-AUC undefined" in text


def test_the_studys_numbers():
    row = study_row("cnn", "plain")
    assert row["n"] == 92
    assert row["accuracy"]["value"] == pytest.approx(73 / 92)
    assert row["sensitivity"]["value"] == pytest.approx(52 / 66)
    assert row["specificity"]["value"] == pytest.approx(21 / 26)
    assert row["precision"]["value"] == pytest.approx(52 / 57)
    assert "roc_auc" not in row
    assert "calibration_slope" not in row
    found, alarms = 0.1 * 52 / 66, 0.9 * 5 / 26
    assert row["ppv"]["value"] == pytest.approx(found / (found + alarms))
    assert study_row("swin", "parula")["confusion_matrix"] == [[10, 16], [13, 53]]
    assert study_row("resnet50", "plain") is None


def test_predictions_come_back_as_they_went(tmp_path):
    table = predictions()
    write_predictions(table, tmp_path / "p.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "p.csv"), table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="probability"), "lacks the column probability"),
        (lambda t: t.assign(probability=1.5), "must be from 0 to 1. Received: 1.5"),
        (lambda t: t.assign(probability="high"), "must be from 0 to 1. Received: high"),
        (lambda t: t.assign(probability=""), "must be from 0 to 1. Received: nothing"),
        (lambda t: t.assign(label="cyst"), "label of .* must be one of no_lump, lump"),
        (lambda t: pd.concat([t, t.head(1)]), "each image must stand once"),
    ],
)
def test_damaged_predictions_are_refused(tmp_path, change, message):
    change(predictions()).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "none.csv")


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
    metrics, tables = judged_whole(tables)
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
        metrics, tables = judged_whole(tables)
    assert "undefined" in report(tmp_path, metrics, tables)


def test_the_report_says_what_is_made_of_the_probabilities(tmp_path):
    metrics, tables = judged_whole({"val": predictions("val", seed=1), "test": predictions()})
    html = report(tmp_path, metrics, tables)
    assert "Calibration: temperature" in html
    assert "Youden" in html
    assert "Referred to a reader" in html
    assert html.count("benign") > 0
    pictures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"decision_curve.png", "subgroups.png"} <= pictures
    # The decision is validation's: other test images change nothing of it.
    other, _ = judged_whole({"val": predictions("val", seed=1), "test": predictions(seed=7)})
    assert other["decision"] == metrics["decision"]
