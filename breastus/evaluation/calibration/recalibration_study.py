"""Recalibration study: recalibrate on a sample of a new hospital's images and score its others.

The sample is drawn at random by whole groups (patients or scenes), not by class. The images it is
fitted on are not scored; before and after are scored on the same images and therefore paired.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import DataError, FewGroupsWarning, UndefinedMetricWarning
from breastus.evaluation.calibration.fit import group_folds
from breastus.evaluation.calibration.recalibration import FEW_GROUPS, Recalibration, recalibrate
from breastus.evaluation.calibration.reliability import (
    expected_calibration_error,
    image_log_loss,
    reliability,
)
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.decision.conformal import fit_conformal
from breastus.evaluation.decision.decision import Decision, threshold_rule
from breastus.evaluation.evaluate_predictions import score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import (
    check_count,
    check_grouped,
    groups_per_class,
    image_counts,
    with_interval,
)

# Metrics that are reported before and after, in the order of the report.
SCORES = (
    *("ece", "brier", "calibration_intercept", "calibration_slope"),
    *("sensitivity", "specificity", "balanced_accuracy", "roc_auc"),
)
SIZES = (10, 20, 50, 100, 200)  # of the learning curve
_CURVE_SCORES = ("log_loss", "brier", "ece")
_QUANTILES = (0.1, 0.9)  # of the draws
_OPTION = "recalibrate (--recalibrate)"
_HINT = "Choose another number, or name more data."


def recalibration_study(
    table: pd.DataFrame, settings: EvaluationConfig, *, images: int, seed: int
) -> dict[str, Any]:
    """Draw a sample, recalibrate on it, and score the other images before and after.

    Args:
        table: predictions of the new hospital, as `Decision.apply` returns them.
        settings: threshold rule, coverage, level and resamples of the intervals.
        images: minimum size of the sample; whole groups are taken until it is reached.
        seed: seed of the sample, the resamples and the learning curve.

    Returns:
        `min_images` and `seed`; `sample` and `held_out`: `n`, `n_groups`, `n_lump`, `n_no_lump`,
        for `sample` also `groups_per_class` and `image_ids`; `recalibration` as from
        `Recalibration.to_dict`; `decision`, as from `Decision.to_dict`, for the model's calibrated
        probabilities; for each of `SCORES` on the held-out images, `before` and `after` (`value`,
        `ci_low`, `ci_high`) and `difference` (after minus before, likewise); `metrics`, as from
        `score_predictions`, after; `reliability_before`, `reliability`; `learning_curve` as from
        the function, or None with the reason in `no_learning_curve`.

    Raises:
        ConfigError: when `images` is no whole number from 1.
        DataError: when there are too few images, the sample lacks a class, or the others have fewer
            than two groups of one.

    Warns:
        FewGroupsWarning: when the sample has fewer than five groups of a class.
    """
    truth, prob = truth_and_probability(table)
    groups = table["group_id"].to_numpy()
    taken = sample_images(truth, groups, images, seed=seed)
    of_class = groups_per_class(truth[taken], groups[taken])
    if min(of_class.values()) < FEW_GROUPS:
        warnings.warn(
            f"{_OPTION} is unreliable with fewer than {FEW_GROUPS} patients or scenes of a class: "
            f"the sample has {of_class['lump']} of lump and {of_class['no_lump']} of no lump. "
            f"Choose a larger number. Received: {images}",
            FewGroupsWarning,
            stacklevel=2,
        )
    found, decision = _fit(truth[taken], prob[taken], groups[taken], settings)
    held_out = table[~taken].reset_index(drop=True)
    before = held_out.assign(probability_uncalibrated=held_out["probability"])
    after = decision.apply(before)
    thresholds = float(held_out["threshold"].iloc[0]), decision.threshold
    options = EvaluationOptions.from_settings(settings, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # the report states what is NaN
        scored = [
            score_predictions({"test": part}, threshold=threshold, options=options)
            for part, threshold in zip((before, after), thresholds, strict=True)
        ]
        paired = compare(
            after, before, threshold=thresholds[1], other_threshold=thresholds[0], options=options
        )
    curve, no_learning_curve = _curve(truth, prob, groups, images, seed)
    held_out_truth, held_out_prob = truth_and_probability(before)
    return {
        "min_images": int(images),
        "seed": seed,
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "interval_method": scored[0]["interval_method"],
        "threshold_before": thresholds[0],
        "sample": {
            **image_counts(truth[taken], groups[taken]),
            "groups_per_class": of_class,
            "image_ids": table.loc[taken, "image_id"].tolist(),
        },
        "held_out": image_counts(truth[~taken], groups[~taken]),
        "recalibration": found.to_dict(),
        "decision": decision.to_dict(),
        "before": {name: scored[0]["test"][name] for name in SCORES},
        "after": {name: scored[1]["test"][name] for name in SCORES},
        "difference": {
            name: with_interval(entry["difference"], (entry["ci_low"], entry["ci_high"]))
            for name in SCORES
            for entry in [paired["metrics"][name]]
        },
        "metrics": scored[1],
        "reliability_before": reliability(held_out_truth, held_out_prob),
        "reliability": reliability(*truth_and_probability(after)),
        "learning_curve": curve,
        "no_learning_curve": no_learning_curve,
    }


def check_image_count(images: int) -> None:
    """Raise ConfigError unless `images` is a whole number from 1."""
    check_count(_OPTION, images)


def sample_images(truth: np.ndarray, groups: np.ndarray, images: int, *, seed: int) -> np.ndarray:
    """Return bool [n], as `sample_groups`, of both classes; raise as `recalibration_study` does."""
    check_image_count(images)
    taken = sample_groups(groups, images, seed=seed)
    drawn, held_out = (groups_per_class(truth[part], groups[part]) for part in (taken, ~taken))
    if missing := [label for label, count in drawn.items() if not count]:
        raise DataError(
            f"{_OPTION} must draw images of both classes; {int(taken.sum())} images of "
            f"{len(np.unique(groups[taken]))} whole patients or scenes were drawn and none is "
            f"{missing[0]}. Choose a larger number. Received: {images}"
        )
    if min(held_out.values()) < 2:
        raise DataError(
            f"{_OPTION} must leave at least two patients or scenes of each class to score; "
            f"{images} images leave {held_out['lump']} of lump and {held_out['no_lump']} of no "
            f"lump. {_HINT} Received: {images}"
        )
    return taken


def sample_groups(groups: np.ndarray, images: int, *, seed: int) -> np.ndarray:
    """Return bool [n], whole groups in random order until there are enough images."""
    if images >= len(groups):
        raise DataError(
            f"{_OPTION} must leave images to score, so it must be below {len(groups)}, the number "
            f"of images. {_HINT} Received: {images}"
        )
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    count = int(np.searchsorted(np.cumsum(sizes[order]), images)) + 1
    return np.isin(member, order[:count])


def held_out_after(table: pd.DataFrame, study: dict[str, Any]) -> pd.DataFrame:
    """Return the held-out predictions, `probability_uncalibrated` before and `probability` after.

    `study` is the result of `recalibration_study` for `table`, or the same from JSON.
    """
    held_out = table[~table["image_id"].isin(set(study["sample"]["image_ids"]))]
    held_out = held_out.assign(probability_uncalibrated=held_out["probability"]).reset_index(
        drop=True
    )
    return Decision.from_dict(study["decision"]).apply(held_out)


def _fit(
    truth: np.ndarray, prob: np.ndarray, groups: np.ndarray, settings: EvaluationConfig
) -> tuple[Recalibration, Decision]:
    rule = threshold_rule(settings, truth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recalibration is unreliable")  # warned above
        found = recalibrate(truth, prob, groups, confidence=settings.confidence, **rule)
        calibrated = found.calibrator.apply(prob)
        conformal = fit_conformal(truth, calibrated, groups, coverage=settings.coverage)
    # The description is also shown alone, so it names the images of the choice.
    description = found.threshold.description.replace("validation", "the recalibration images")
    facts = {
        "threshold": {**found.threshold.to_dict(), "description": description},
        "calibration": {"reason": f"recalibrated by {found.method}", "losses": []},
    }
    return found, Decision(found.calibrator, found.threshold.threshold, conformal, facts)


def _curve(truth, prob, groups, images: int, seed: int) -> tuple[list[dict] | None, str]:
    sizes = [size for size in sorted({*SIZES, images}) if size <= len(truth) // 2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the curve itself shows what few groups do
            rows = learning_curve(truth, prob, groups, sizes=sizes, seed=seed)
    except DataError as error:
        return None, str(error)
    return rows, ""


def learning_curve(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    sizes: Sequence[int],
    repeats: int = 50,
    seed: int = 0,
) -> list[dict]:
    """Recalibrate on N images of the new hospital and score the others, for rising N.

    Each draw holds out half of the groups, with both classes split evenly. From the other half
    whole groups are taken in random order until there are N images. A sample of one class, which
    `recalibrate` refuses, leaves the probabilities as they are.

    Returns:
        For 0 (no recalibration) and each size in rising order: `images` (the size), `groups` (mean
        number taken), `single_class` (proportion of samples of one class), `improved` (proportion
        of draws whose log loss falls), and of `log_loss`, `brier` and `ece` (five bins of equal
        count), all lower is better, the mean over draws with the 10th and 90th percentile as
        `*_low` and `*_high`. NaN when half of the groups have fewer images. Draws share images, so
        they vary less than hospitals do.

    Raises:
        DataError: when a class has fewer than four groups.
    """
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    if min((number := groups_per_class(y_true, groups)).values()) < 4:
        raise DataError(
            "A learning curve needs four groups of each class, two to fit and two to test. "
            f"Received: {number}"
        )
    rng = np.random.default_rng(seed)
    steps = [0, *sorted(sizes)]
    draws: dict[int, list[dict]] = {size: [] for size in steps}
    for _ in range(repeats):
        held_out = group_folds(y_true, groups, 2, seed=int(rng.integers(2**31))) == 0
        pool = rng.permutation(np.unique(groups[~held_out]))
        until = np.cumsum([(groups == group).sum() for group in pool])
        before = _scores(y_true[held_out], y_prob[held_out])
        for size in steps:
            if size > until[-1]:
                continue
            count = int(np.searchsorted(until, size)) + 1 if size else 0
            taken = np.isin(groups, pool[:count])
            one_class = len(np.unique(y_true[taken])) < 2
            after = before
            if not one_class:
                found = recalibrate(y_true[taken], y_prob[taken], groups[taken])
                after = _scores(y_true[held_out], found.calibrator.apply(y_prob[held_out]))
            better = after["log_loss"] < before["log_loss"]
            draws[size].append(
                {**after, "groups": count, "single_class": one_class, "improved": better}
            )
    return [_row(size, each if len(each) == repeats else []) for size, each in draws.items()]


def _scores(y_true, y_prob) -> dict[str, float]:
    return {
        "log_loss": float(image_log_loss(y_true, y_prob).mean()),
        "brier": float(((y_prob - y_true) ** 2).mean()),
        "ece": float(expected_calibration_error(y_true, y_prob)),
    }


def _row(size: int, draws: list[dict]) -> dict:
    row = {"images": size}
    for name in ("groups", "single_class", "improved", *_CURVE_SCORES):
        values = [draw[name] for draw in draws] or [math.nan]
        row[name] = float(np.mean(values))
        if name in _CURVE_SCORES:
            row[f"{name}_low"], row[f"{name}_high"] = map(float, np.quantile(values, _QUANTILES))
    if not size:
        row["single_class"] = math.nan  # there is no sample
    return row
