"""Figures are drawn from what JSON gives back, and say what they show."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from prediction_tables import evaluated_run, predictions

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.decision.decision_curve import net_benefit
from breastus.evaluation.predictions import truth_and_probability
from breastus.reporting.figures import plots
from breastus.reporting.figures.learning_curve import plot_learning_curve
from breastus.reporting.figures.robustness import plot_robustness
from breastus.reporting.figures.style import to_svg
from breastus.reporting.figures.subgroups import plot_subgroups
from breastus.utils.files import jsonable


def stored(values):
    """Return values as a JSON file gives them back: what is undefined is None."""
    return json.loads(json.dumps(jsonable(values), allow_nan=False))


@pytest.fixture(scope="module")
def run():
    metrics, tables = evaluated_run({"val": predictions("val", seed=1), "test": predictions()})
    return stored(metrics), tables["test"]


def undefined(values):
    """Replace all numbers but settings by None."""
    if isinstance(values, dict):
        kept = ("threshold", "severity", "images", "values", "n", "n_groups", "confidence")
        return {k: v if k in kept else undefined(v) for k, v in values.items()}
    if isinstance(values, list):
        return [undefined(value) for value in values]
    return None if isinstance(values, float) else values


ROW = {"images": 0, **dict.fromkeys(("log_loss", "brier", "ece"), 0.5)}
SIZES = [ROW, {**ROW, "images": 20, **{f"{n}_{e}": 0.5 for n in ROW for e in ("low", "high")}}]
ENTRY = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
SCORES = {"roc_auc": ENTRY, "calibration_error": ENTRY, "roc_auc_significant": None}


def draw_all(metrics, test):
    """Draw each figure that takes metrics."""
    part = metrics["test"]
    yield plots.plot_roc(test, part, threshold=0.5, confidence=0.95)
    yield plots.plot_precision_recall(test, part)
    yield plots.plot_decision_curve(part["decision_curve"], prevalence=0.1, confidence=0.95)
    yield plot_subgroups(metrics["subgroups"])


def test_undefined_values_of_a_json_file_are_drawn(run):
    metrics, test = run
    for index, figure in enumerate(draw_all(undefined(metrics), test)):
        assert to_svg(figure, str(index))
    assert to_svg(plot_learning_curve(undefined(SIZES), images=20), "learning")


def test_a_test_of_one_class_is_drawn_from_its_file():
    with pytest.warns(UndefinedMetricWarning):
        metrics, tables = evaluated_run(
            {"val": predictions("val", seed=1), "test": predictions(others=0)}
        )
    for index, figure in enumerate(draw_all(stored(metrics), tables["test"])):
        assert to_svg(figure, str(index))


def texts_of(figure: Figure) -> set[str]:
    (axis,) = figure.axes
    legend = {text.get_text() for text in axis.get_legend().get_texts()}
    return legend | {axis.get_title(), axis.get_title("left")}


def test_the_roc_band_has_the_level_of_the_settings(run):
    metrics, test = run
    areas = []
    for confidence, label in ((0.8, "80 % band"), (0.99, "99 % band")):
        figure = plots.plot_roc(test, metrics["test"], threshold=0.5, confidence=confidence)
        assert label in texts_of(figure)
        (band,) = figure.axes[0].collections
        low, high = np.array_split(band.get_paths()[0].vertices[:, 1], 2)
        areas.append(abs(low.mean() - high.mean()))
    assert areas[1] > 1.3 * areas[0]


def test_the_decision_curve_has_the_prevalence_of_ppv_and_npv_and_says_so(run):
    metrics, test = run
    prevalence, curve = metrics["prevalence"], metrics["test"]["decision_curve"]
    figure = plots.plot_decision_curve(curve, prevalence=prevalence, confidence=0.95)
    assert {"Decision curve at a prevalence of 10 %", "95 % band"} <= texts_of(figure)
    odds = np.array(curve["threshold"]) / (1 - np.array(curve["threshold"]))
    np.testing.assert_allclose(curve["treat_all"], prevalence - (1 - prevalence) * odds)
    # 40 of the 70 validation images have a lump.
    assert metrics["calibrated_at"] == pytest.approx(4 / 7)
    truth, prob = truth_and_probability(test)
    shift = np.log(prevalence / (1 - prevalence)) - np.log(4 / 3)
    adjusted = 1 / (1 + np.exp(-(np.log(prob / (1 - prob)) + shift)))
    expected = net_benefit(truth, adjusted, curve["threshold"], prevalence=prevalence)
    np.testing.assert_allclose(curve["model"], expected)


def test_undefined_robustness_is_drawn():
    part = {
        "title": "Gain",
        "unit": "dB",
        "values": [1, 2],
        "severities": [{"severity": 1, **SCORES}, {"severity": 2, **SCORES}],
    }
    whole = {"confidence": 0.95, "clean": SCORES, "corruptions": {"gain": part}}
    assert to_svg(plot_robustness(undefined(whole)), "robustness")
