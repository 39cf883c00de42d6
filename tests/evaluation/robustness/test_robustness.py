"""Robustness, on models whose answers are known: the brightness of flat images."""

import json
import warnings

import numpy as np
import pytest
from report_sections import robustness_section

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import expected_calibration_error
from breastus.evaluation.intervals.bootstrap import GroupBootstrap
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.robustness import evaluate
from breastus.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES
from breastus.evaluation.robustness.evaluate import (
    SCORES,
    ImageScores,
    robustness,
    score_interval,
    score_intervals,
    significant_changes,
)
from breastus.reporting.figures.robustness import plot_robustness
from breastus.reporting.texts import robustness_summary
from breastus.utils.files import jsonable

LEVELS_PER_DB = 255 / 60


def brightness(images):
    return np.array([image.mean() / 255 for image in images])


def flat(levels, side=32):
    return [np.full((side, side, 3), level, np.uint8) for level in levels]


def made(count=40, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    levels = np.clip(rng.normal(110 + 50 * truth, 30), 80, 250).round()
    return flat(levels), truth, np.arange(count) // 2, levels


def judged(images, truth, groups, predict=brightness, **options):
    shared = {"resamples": 200} | {
        name: options.pop(name) for name in ("resamples", "confidence", "seed") if name in options
    }
    settings = {"threshold": 0.5, "severities": SEVERITIES, "corruptions": None, **options}
    options = EvaluationOptions(**shared)
    return robustness(predict, images.__getitem__, truth, groups, options=options, **settings)


def expected(truth, prob):
    scores = compute_metrics(truth, prob) | {
        "calibration_error": expected_calibration_error(truth, prob)
    }
    return {name: pytest.approx(scores[name]) for name in SCORES}


def test_scores_are_those_of_the_images_that_were_made_worse():
    images, truth, groups, levels = made()
    found = judged(images, truth, groups, corruptions=["gain_down", "jpeg"], severities=(1, 4))
    assert {name: e["value"] for name, e in found["clean"].items()} == expected(truth, levels / 255)
    entries = found["corruptions"]["gain_down"]["severities"]
    assert [(e["severity"], e["level"]) for e in entries] == [(1, 3), (4, 12)]
    for entry in entries:
        worse = np.rint(levels - entry["level"] * LEVELS_PER_DB) / 255
        assert {name: entry[name]["value"] for name in SCORES} == expected(truth, worse)
        for name in SCORES:
            part = entry[name]
            assert part["change"] == pytest.approx(part["value"] - found["clean"][name]["value"])
            assert part["ci_low"] <= part["value"] <= part["ci_high"]
            assert part["change_ci_low"] <= part["change"] <= part["change_ci_high"]
    # All images are darker by as much: the order stays, fewer are predicted lump.
    assert entries[1]["roc_auc"]["change"] == pytest.approx(0, abs=0.01)
    assert entries[1]["sensitivity"]["change_ci_high"] < 0 < entries[1]["specificity"]["change"]
    assert not entries[1]["roc_auc_significant"]
    assert (found["n"], found["n_groups"], found["n_lump"], found["n_no_lump"]) == (40, 20, 20, 20)


def test_a_lost_order_is_significant_and_reported():
    truth = np.arange(40) % 2
    images = flat(np.where(truth == 1, 254, 200))  # 15 dB make both white
    found = judged(images, truth, np.arange(40), corruptions=["gain_up", "resolution"])
    gain = found["corruptions"]["gain_up"]["severities"]
    assert [entry["roc_auc"]["value"] for entry in gain] == [1, 1, 1, 1, 0.5]
    assert [entry["roc_auc_significant"] for entry in gain] == [False] * 4 + [True]
    html = robustness_section(found)
    assert "gain up from severity 5 (down to 0.50)" in html
    assert "▼ <b>0.50</b> (−0.50)" in html
    assert "(0.00)" in html
    gain[4]["roc_auc_significant"] = False
    for text in (robustness_section(found), robustness_summary(found)):
        assert "no corruption lowers ROC-AUC beyond chance" in text
        assert "0.50 (gain up, severity 5), may be chance" in text
    assert "Sensitivity at the threshold of 0.5 does not fall below 100 %" in robustness_summary(
        found
    )
    unchanged = judged(images, truth, np.arange(40), corruptions=["blur"])
    assert "no corruption lowers ROC-AUC beyond chance." in robustness_summary(unchanged)


def test_probabilities_that_stop_meaning_what_they_say_are_marked_though_the_order_stays():
    rng = np.random.default_rng(5)
    levels = rng.uniform(90, 250, 240).round()
    truth = (rng.random(240) < levels / 255).astype(int)
    images = [np.full((16, 16, 3), level, np.uint8) for level in levels]
    found = judged(
        images,
        truth,
        np.arange(240),
        corruptions=["gain_down", "jpeg"],
        severities=(1, 5),
        threshold=0.75,
    )
    slight, strong = found["corruptions"]["gain_down"]["severities"]
    assert strong["calibration_error_significant"]
    assert not strong["roc_auc_significant"]
    assert not any(
        e["calibration_error_significant"] for e in found["corruptions"]["jpeg"]["severities"]
    )
    html = robustness_section(found)
    assert "no corruption lowers ROC-AUC beyond chance" in html
    worst = strong["calibration_error"]["value"]
    assert f"{worst:.2f} at worst (gain down, severity 5)" in html
    assert f"▲ <b>{worst:.2f}</b>" in html
    assert strong["sensitivity"]["value"] == 0 < slight["sensitivity"]["value"]
    assert "0 % at worst (gain down, severity 5)" in html


def test_one_batch_or_many_give_the_same(monkeypatch):
    images, truth, groups, _ = made(12)
    options = {"corruptions": ["speckle"], "severities": (3,), "seed": 4}
    held = []

    class Reader:
        def __getitem__(self, number):
            held.append(number)
            return images[number]

    whole = judged(images, truth, groups, **options)
    other = judged(images, truth, groups, **{**options, "seed": 5})
    assert other["corruptions"] != whole["corruptions"]
    monkeypatch.setattr(evaluate, "_BATCH", 5)
    assert judged(Reader(), truth, groups, **options) == whole
    assert held == list(range(12))  # each is read once


def test_each_image_has_grains_of_its_own():
    seen = []

    def look(images):
        seen.extend(images)
        return brightness(images)

    judged(flat([120] * 4), [0, 1, 0, 1], [*"abcd"], predict=look, corruptions=["speckle"])
    assert not np.array_equal(seen[4], seen[5])
    assert len(seen) == 4 * 6


def test_resampled_scores_are_those_of_repeated_images():
    _, truth, _, levels = made(30, seed=1)
    prob = (levels / 255).round(1)  # with ties
    weights = np.random.default_rng(0).integers(0, 4, (7, 30))
    found = ImageScores(truth, prob, 0.5, GroupBootstrap(weights, 0.025, ()))
    scores = found.drawn
    for row, weight in enumerate(weights):
        alone = compute_metrics(np.repeat(truth, weight), np.repeat(prob, weight))
        for name in set(SCORES) - {"calibration_error"}:
            assert scores[name][row] == pytest.approx(alone[name])
    value = found.values["calibration_error"]
    assert value == pytest.approx(expected_calibration_error(truth, prob))


def test_intervals_of_one_class_are_wilsons_and_of_calibration_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        prob = rng.uniform(0.2, 0.8, 200)
        truth = (rng.random(200) < np.clip(prob + 0.15, 0, 1)).astype(int)  # too low by 0.15
        weights = rng.multinomial(200, np.full(200, 1 / 200), size=200)
        bootstrap = GroupBootstrap(weights, 0.025, ())
        scores = ImageScores(truth, prob, 0.1, bootstrap)
        bounds = score_intervals(scores, np.arange(200), tail=0.025, confidence=0.95)
        held += bounds["calibration_error"][0] <= 0.15 <= bounds["calibration_error"][1]
    assert held / 60 > 0.88
    low, high = bounds["sensitivity"]  # all are predicted lump
    assert (round(low, 2), high) == (0.97, 1.0)


def test_the_interval_of_the_calibration_error_lies_around_it():
    # Percentiles 0.11 and 0.29 about a median of 0.2: resampling has added 0.1.
    bounds = score_interval("calibration_error", 0.1, np.linspace(0.1, 0.3, 101), 0.05)
    assert bounds == pytest.approx((0.01, 0.19))
    assert score_interval("brier", 0.1, np.linspace(0.1, 0.3, 101), 0.05) == pytest.approx(
        (0.11, 0.29)
    )


def test_chance_alone_marks_no_more_than_it_says():
    rng = np.random.default_rng(3)
    wrong = found = 0
    for _ in range(200):
        shared = rng.normal(size=(1, 401))
        noise = (0.5 * shared + rng.normal(size=(20, 401))) * np.geomspace(1e-3, 1, 20)[:, None]
        change, drawn = noise[:, 0], noise[:, :1] + noise[:, 1:]
        wrong += significant_changes(change, drawn, 0.95).any()
        effect = 8.0 * (np.arange(20) == 19)
        found += significant_changes(change + effect, drawn + effect[:, None], 0.95)[-1]
    assert wrong / 200 < 0.1
    assert found / 200 > 0.9
    assert significant_changes(
        np.array([0.0, 0.5, np.nan]), np.array([[0.0], [0.5], [0.5]]), 0.95
    ).tolist() == [False, True, False]


def test_one_class_is_nan_with_a_warning_and_still_a_page():
    images, _, groups, _ = made(10)
    with pytest.warns(UndefinedMetricWarning, match="NaN: the images of lump come from fewer"):
        found = judged(images, np.zeros(10, int), groups, corruptions=["blur"], severities=(1,))
    clean = found["clean"]
    assert np.isnan([clean["roc_auc"]["value"], clean["sensitivity"]["value"]]).all()
    assert np.isfinite(clean["specificity"]["value"])
    assert np.isnan([e[k] for e in clean.values() for k in ("ci_low", "ci_high")]).all()
    html = robustness_section(json.loads(json.dumps(jsonable(found))))
    assert "undefined" in html
    assert "nan" not in html
    plot_robustness(found)
    # One group of a class: there are values, and nothing to tell chance by.
    with pytest.warns(UndefinedMetricWarning):
        found = judged(images, np.arange(10) == 0, np.arange(10), corruptions=["gain_down"])
    assert "cannot be measured" in robustness_section(found)
    assert "cannot be measured" in robustness_summary(found)


def test_the_page_and_the_figure_from_json(tmp_path):
    images, truth, groups, _ = made(16)
    images = [np.tile(image, (3, 3, 1)) for image in images]  # room for calipers
    found = judged(images, truth, groups, resamples=50)
    assert list(found["corruptions"]) == list(CORRUPTIONS)
    text = json.dumps(jsonable(found), allow_nan=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = robustness_section(json.loads(text))
        figure = plot_robustness(json.loads(text))
        figure.savefig(tmp_path / "robustness.png")
    assert html == robustness_section(found)
    assert html.count("<tr>") == 3 * (1 + len(CORRUPTIONS))
    assert "3, 6, 9, 12, 15 dB" in html
    assert len(figure.axes) == 20  # two rows of five pairs, the last one empty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruptions": ["gain_upp"]}, r"Did you mean gain_up\? Received: .*'gain_upp'"),
        ({"corruptions": []}, "corruptions must name at least one"),
        ({"corruptions": ["blur", "blur"]}, "each once"),
        ({"severities": (0,)}, "whole number from 1 to 5. Received: 0"),
        ({"severities": (6,)}, "Received: 6"),
        ({"severities": ()}, "severities must name at least one"),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold must be"),
        ({"confidence": 1.0}, "confidence must be a number above 0 and below 1"),
        ({"resamples": 0}, "resamples must be a whole number"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    images, truth, groups, _ = made(4)
    with pytest.raises(ConfigError, match=message):
        judged(images, truth, groups, **options)


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda x: np.full(len(x), np.nan), "clean images .*Received: nan at position 0"),
        (lambda x: np.full(len(x), -0.1), "from 0 to 1. Received: -0.1"),
        (lambda x: np.full(len(x), 1.2), "from 0 to 1. Received: 1.2"),
        (lambda x: brightness(x)[1:], r"each of 4 clean images. Received: shape \(3,\)"),
        (lambda x: brightness(x)[:, None], r"Received: shape \(4, 1\)"),
        (
            lambda x: np.where(brightness(x) < 0.36, np.nan, 0.5),
            "images with gain_down at severity 3 .*Received: nan",
        ),
    ],
)
def test_answers_that_are_no_probabilities_are_refused(predict, message):
    images = flat([120, 120, 120, 120])
    with pytest.raises(DataError, match=message):
        judged(images, [0, 1, 0, 1], [*"abcd"], predict=predict, corruptions=["gain_down"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((flat([9, 9]), [0, 1], [0]), "the group of each of 2 images"),
        ((flat([9, 9]), [0, 2], [0, 1]), "y_true must hold 0 and 1 only. Received: 2"),
        ((flat([9, 9]), [0, 1], [0, 1]), "number 0 .*calipers. .* Received: 32 x 32"),
    ],
)
def test_wrong_data_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        judged(*data, corruptions=["calipers"])
