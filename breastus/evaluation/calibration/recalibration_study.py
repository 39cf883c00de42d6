"""Recalibration study: recalibrate on a sample of a new hospital's images and score its others.

    study = recalibration_study(table, settings, images=50, seed=0)
    study["after"]["ece"], study["difference"]["brier"], study["learning_curve"]

The sample is drawn at random by whole groups (patients or scenes), not by class. The images it is
fitted on are not scored; before and after are scored on the same images and therefore paired.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import DataError, FewGroupsWarning, UndefinedMetricWarning
from breastus.evaluation.calibration.learning_curve import learning_curve
from breastus.evaluation.calibration.recalibration import FEW_GROUPS, Recalibration, recalibrate
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.decision.conformal import fit_conformal
from breastus.evaluation.decision.decision import Decision, threshold_rule
from breastus.evaluation.evaluate_predictions import score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import check_count, groups_per_class
from breastus.labels import LABELS

# Metrics that are reported before and after, in the order of the report.
SCORES = (
    *("ece", "brier", "calibration_intercept", "calibration_slope"),
    *("sensitivity", "specificity", "balanced_accuracy", "roc_auc"),
)
SIZES = (10, 20, 50, 100, 200)  # of the learning curve
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
    _warn_of_few(groups_per_class(truth[taken], groups[taken]), images)

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
            after,
            before,
            threshold=thresholds[1],
            other_threshold=thresholds[0],
            options=options,
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
            **_counts(truth[taken], groups[taken]),
            "groups_per_class": groups_per_class(truth[taken], groups[taken]),
            "image_ids": table.loc[taken, "image_id"].tolist(),
        },
        "held_out": _counts(truth[~taken], groups[~taken]),
        "recalibration": found.to_dict(),
        "decision": decision.to_dict(),
        "before": {name: scored[0]["test"][name] for name in SCORES},
        "after": {name: scored[1]["test"][name] for name in SCORES},
        "difference": {
            name: {
                "value": paired["metrics"][name]["difference"],
                "ci_low": paired["metrics"][name]["ci_low"],
                "ci_high": paired["metrics"][name]["ci_high"],
            }
            for name in SCORES
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
    """Return bool [n], a sample of whole groups, as `sample_groups`, that has both classes.

    Args:
        truth: int [n], 1 for lump.
        groups: [n], name of each image's group.
        images: minimum size of the sample.
        seed: random seed.

    Raises:
        ConfigError: when `images` is no whole number from 1.
        DataError: when there are too few images, the sample lacks a class, or the others have fewer
            than two groups of one.
    """
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
    """Return bool [n], whole groups in random order until there are enough images.

    Args:
        groups: [n], name of each image's group.
        images: minimum size of the sample, below n.
        seed: random seed.

    Raises:
        DataError: when there are no more than `images`.
    """
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

    Args:
        table: predictions that were given to `recalibration_study`.
        study: result of `recalibration_study`, or the same from JSON.
    """
    held_out = table[~table["image_id"].isin(set(study["sample"]["image_ids"]))]
    held_out = held_out.assign(probability_uncalibrated=held_out["probability"]).reset_index(
        drop=True
    )
    return Decision.from_dict(study["decision"]).apply(held_out)


def _warn_of_few(drawn: dict[str, int], images: int) -> None:
    if min(drawn.values()) < FEW_GROUPS:
        warnings.warn(
            f"{_OPTION} is unreliable with fewer than {FEW_GROUPS} patients or scenes of a class: "
            f"the sample has {drawn['lump']} of lump and {drawn['no_lump']} of no lump. Choose a "
            f"larger number. Received: {images}",
            FewGroupsWarning,
            stacklevel=3,
        )


def _fit(
    truth: np.ndarray, prob: np.ndarray, groups: np.ndarray, settings: EvaluationConfig
) -> tuple[Recalibration, Decision]:
    rule = threshold_rule(settings, truth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recalibration is unreliable")  # warned above
        found = recalibrate(truth, prob, groups, confidence=settings.confidence, **rule)
        calibrated = found.calibrator.apply(prob)
        conformal = fit_conformal(truth, calibrated, groups, coverage=settings.coverage)
    decision = Decision(
        found.calibrator,
        found.threshold.threshold,
        conformal,
        {
            # The description is also shown alone, so it names the images of the choice.
            "threshold": {
                **found.threshold.to_dict(),
                "description": found.threshold.description.replace(
                    "validation", "the recalibration images"
                ),
            },
            "calibration": {"reason": f"recalibrated by {found.method}", "losses": []},
        },
    )
    return found, decision


def _curve(truth, prob, groups, images: int, seed: int) -> tuple[list[dict] | None, str]:
    sizes: Sequence[int] = [size for size in sorted({*SIZES, images}) if size <= len(truth) // 2]
    try:
        with warnings.catch_warnings():
            # A size that half of the groups cannot reach has no point in the figure.
            warnings.simplefilter("ignore")
            rows = learning_curve(truth, prob, groups, sizes=sizes, seed=seed)
    except DataError as error:
        return None, str(error)
    return rows, ""


def _counts(truth: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    return {
        "n": len(truth),
        "n_groups": len(np.unique(groups)),
        **{f"n_{label}": int((truth == value).sum()) for value, label in enumerate(LABELS)},
    }
