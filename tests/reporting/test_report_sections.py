"""Parts of the report that say what was measured, from JSON to HTML."""

import json
import math
import warnings

import numpy as np
from prediction_tables import hospital, subgroup_tables
from report_sections import metrics_section

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.logistic import sigmoid
from breastus.evaluation.calibration.prior_shift import prevalence_estimate
from breastus.evaluation.metrics.subgroups import SCORES, subgroups
from breastus.reporting.figures.subgroups import plot_subgroups
from breastus.utils.files import jsonable

SETTINGS = EvaluationConfig(resamples=100)


def test_subgroups_come_from_json(tmp_path):
    predictions, attributes = subgroup_tables(["normal"] * 20 + ["benign"] * 20 + ["malignant"] * 3)
    attributes.loc[0, "source"] = "<odd>"
    result = subgroups(predictions, attributes, threshold=0.5, confidence=0.95, whole=None)
    text = json.dumps(jsonable(result), allow_nan=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = metrics_section("subgroups", subgroups=json.loads(text))
        figure = plot_subgroups(json.loads(text))
        figure.savefig(tmp_path / "subgroups.png")
    assert html == metrics_section("subgroups", subgroups=result)
    assert "<odd>" not in html
    assert "lumps of 3 groups, fewer than 5" in html
    assert "malignant †" in html
    assert ">nan" not in html
    assert "nan to" not in html
    parts = sum(len(f["subgroups"]) for f in result["attributes"]) - 1
    assert f"There are {parts} subgroups" in html
    assert len(figure.axes) == len(SCORES)


def test_shortcuts_of_no_images_are_named():
    nothing = dict.fromkeys(("flip_rate", "ci_low", "ci_high", "mean_probability_change"), math.nan)
    none = {"n": 0, "n_groups": 0, "flipped": 0, **nothing}
    some = {"flip_rate": 1.0, "ci_low": 0.3, "ci_high": 1.0, "mean_probability_change": 0.7}
    some |= {"n": 2, "n_groups": 2, "flipped": 2}
    shortcuts = {"marks_added": some, "marks_removed": none, "max_images": 60, "confidence": 0.95}
    text = metrics_section("shortcuts", shortcuts=shortcuts)
    assert "2 of 2" in text
    assert "no images of this kind" in text
    assert "nan" not in text


def test_another_prevalence_is_estimated_and_told_from_another_hospital():
    rng = np.random.default_rng(3)
    truth = rng.random(1500) < 0.2
    score = rng.normal(size=1500) + 2 * truth - 1  # twice it is the log of the likelihood ratio
    table = hospital(1500).assign(
        label=np.where(truth, "lump", "no_lump"), probability=sigmoid(2 * score + np.log(0.6 / 0.4))
    )
    found = prevalence_estimate(table, training_prevalence=0.6, settings=SETTINGS, seed=0)
    assert found["estimate"]["ci_low"] < truth.mean() < found["estimate"]["ci_high"]
    assert found["adjusted"]["log_loss"] < found["unadjusted"]["log_loss"]
    assert abs(found["adjusted"]["calibration_intercept"]) < 0.2
    stored = json.loads(json.dumps(jsonable(found), allow_nan=False))
    html = metrics_section("prevalence", prevalence_estimate=stored)
    assert "within the interval" in html
    assert "nothing in this report or in the bundle is adjusted by it" in html
    other = table.assign(label=np.where(rng.random(1500) < 0.8, "lump", "no_lump"))
    found = prevalence_estimate(other, training_prevalence=0.6, settings=SETTINGS, seed=0)
    html = metrics_section("prevalence", prevalence_estimate=found)
    assert "more than the prevalence has changed" in html


def test_nothing_to_estimate_from_is_still_a_page():
    for table, share in ((hospital(20).assign(probability=0.3), 0.3), (hospital(20), 1.0)):
        found = prevalence_estimate(table, training_prevalence=share, settings=SETTINGS, seed=0)
        assert np.isnan(found["estimate"]["value"])
        stored = json.loads(json.dumps(jsonable(found)))
        html = metrics_section("prevalence", prevalence_estimate=stored)
        assert "cannot be estimated" in html
        assert "nan" not in html
