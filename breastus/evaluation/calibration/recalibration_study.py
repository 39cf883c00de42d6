"""Recalibrate on some images of a new hospital and judge on its others: predictions in, dict out.

    trial = recalibration_study(table, settings, images=50, seed=0)
    trial["after"]["ece"], trial["difference"]["brier"], trial["curve"]

Images are drawn by whole patients or scenes, by chance and not by class. What was fitted on is
never judged by; before and after are judged on the same images, so that their difference is paired.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import ConfigError, DataError, FewGroupsWarning, UndefinedMetricWarning
from breastus.evaluation.calibration.recalibration import FEW_GROUPS, Recalibration, recalibrate
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.checks import groups_of_class
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.decision.conformal import fit_conformal
from breastus.evaluation.decision.decision import Decision, threshold_rule
from breastus.evaluation.evaluate_predictions import score_predictions
from breastus.evaluation.metrics.learning_curve import learning_curve
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import LABELS

# What is told before and after, best known first.
SCORES = (
    *("ece", "brier", "calibration_intercept", "calibration_slope"),
    *("sensitivity", "specificity", "balanced_accuracy", "roc_auc"),
)
SIZES = (10, 20, 50, 100, 200)  # of the learning curve
_WAYS = "Choose another number, or name more data."


def recalibration_study(
    table: pd.DataFrame, settings: EvaluationConfig, *, images: int, seed: int
) -> dict[str, Any]:
    """Draw images, recalibrate on them, and judge the others before and after.

    Args:
        table: predictions of the new hospital, as `Decision.apply` returns them.
        settings: rule of the threshold, coverage, level and resamples of the intervals.
        images: how many to draw at least; whole groups are taken until there are so many.
        seed: of the draw, the resamples and the curve.

    Returns:
        What JSON holds, NaN apart: `asked`, `seed`; `drawn`, `rest`: `n`, `n_groups`, `n_lump`,
        `n_no_lump`, and of `drawn` `groups_of_class` and the `image_ids`; `recalibration` as from
        `Recalibration.to_dict`; `decision`, as from `Decision.to_dict`, to be applied to the
        probabilities as the model gives them, calibrated as it came; of the rest, for each of
        `SCORES`, `before` and `after` (`value`, `ci_low`, `ci_high`) and `difference` (after less
        before, likewise); `metrics`, all of `evaluate`, after; `reliability_before`,
        `reliability`; `curve` as from `learning_curve`, or None, and then `no_curve` says why.

    Raises:
        ConfigError: when `images` is no whole number from 1.
        DataError: when there are not so many images, those drawn lack a class, or the others have
            fewer than two groups of one.

    Warns:
        FewGroupsWarning: when fewer than five groups of a class were drawn.
    """
    truth, prob = truth_and_probability(table)
    groups = table["group_id"].to_numpy()
    taken = sample_images(truth, groups, images, seed=seed)
    _warn_of_few(groups_of_class(truth[taken], groups[taken]), images)

    found, decision = _fit(truth[taken], prob[taken], groups[taken], settings)
    rest = table[~taken].reset_index(drop=True)
    # What the model said, as it came, is what is recalibrated.
    before = rest.assign(probability_uncalibrated=rest["probability"])
    after = decision.apply(before)
    thresholds = float(rest["threshold"].iloc[0]), decision.threshold
    drawn = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # the report says what is undefined
        judged = [
            score_predictions(
                {"test": part},
                model="",
                color="plain",
                threshold=threshold,
                prevalence=settings.prevalence,
                **drawn,
            )
            for part, threshold in zip((before, after), thresholds, strict=True)
        ]
        paired = compare(
            after,
            before,
            threshold=thresholds[1],
            other_threshold=thresholds[0],
            prevalence=settings.prevalence,
            **drawn,
        )
    curve, no_curve = _curve(truth, prob, groups, images, seed)
    rest_truth, rest_prob = truth_and_probability(before)
    return {
        "asked": int(images),
        "seed": seed,
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "interval": judged[0]["interval"],
        "threshold_before": thresholds[0],
        "drawn": {
            **_counts(truth[taken], groups[taken]),
            "groups_of_class": groups_of_class(truth[taken], groups[taken]),
            "image_ids": table.loc[taken, "image_id"].tolist(),
        },
        "rest": _counts(truth[~taken], groups[~taken]),
        "recalibration": found.to_dict(),
        "decision": decision.to_dict(),
        "before": {name: judged[0]["test"][name] for name in SCORES},
        "after": {name: judged[1]["test"][name] for name in SCORES},
        "difference": {
            name: {
                "value": paired["metrics"][name]["difference"],
                "ci_low": paired["metrics"][name]["ci_low"],
                "ci_high": paired["metrics"][name]["ci_high"],
            }
            for name in SCORES
        },
        "metrics": judged[1],
        "reliability_before": reliability(rest_truth, rest_prob),
        "reliability": reliability(*truth_and_probability(after)),
        "curve": curve,
        "no_curve": no_curve,
    }


def check_image_count(images: int) -> None:
    """See that `images` is a whole number from 1.

    Raises:
        ConfigError: when it is none.
    """
    whole = isinstance(images, int | np.integer) and not isinstance(images, bool)
    if not whole or images < 1:
        raise ConfigError(
            "recalibrate (--recalibrate) must be a whole number of images from 1. "
            f"Received: {images!r}"
        )


def sample_images(truth: np.ndarray, groups: np.ndarray, images: int, *, seed: int) -> np.ndarray:
    """Return bool [n], which images are fitted on: as `sample_groups`, of both classes.

    Args:
        truth: int [n], 1 for lump.
        groups: [n], images of one patient or scene have the same.
        images: how many to draw at least.
        seed: of the draw.

    Raises:
        ConfigError: when `images` is no whole number from 1.
        DataError: when there are not so many images, those drawn lack a class, or the others have
            fewer than two groups of one.
    """
    check_image_count(images)
    taken = sample_groups(groups, images, seed=seed)
    drawn, rest = (groups_of_class(truth[part], groups[part]) for part in (taken, ~taken))
    if missing := [label for label, count in drawn.items() if not count]:
        raise DataError(
            f"recalibrate (--recalibrate) must draw images of both classes, by whole patients or "
            f"scenes; with {images}, {int(taken.sum())} were drawn of "
            f"{len(np.unique(groups[taken]))} and none is {missing[0]}. Choose a larger number, so "
            f"that chance brings both. Received: {images}"
        )
    if min(rest.values()) < 2:
        raise DataError(
            "recalibrate (--recalibrate) must leave at least two patients or scenes of each class "
            f"to judge by; as whole ones are drawn, {images} images leave {rest['lump']} of lump "
            f"and {rest['no_lump']} of no lump. {_WAYS} Received: {images}"
        )
    return taken


def sample_groups(groups: np.ndarray, images: int, *, seed: int) -> np.ndarray:
    """Return bool [n]: whole groups, in an order drawn by chance, until there are enough images.

    Args:
        groups: [n], images of one patient or scene have the same.
        images: how many to draw at least, fewer than n.
        seed: of the draw.

    Raises:
        DataError: when there are no more than `images`.
    """
    if images >= len(groups):
        raise DataError(
            "recalibrate (--recalibrate) must leave images to judge by: fewer than all "
            f"{len(groups)} there are. {_WAYS} Received: {images}"
        )
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    count = int(np.searchsorted(np.cumsum(sizes[order]), images)) + 1
    return np.isin(member, order[:count])


def held_out_after(table: pd.DataFrame, trial: dict[str, Any]) -> pd.DataFrame:
    """Return the held-out predictions, `probability_uncalibrated` before and `probability` after.

    Args:
        table: as `recalibration_study` took it.
        trial: as it came back, or from JSON.
    """
    rest = table[~table["image_id"].isin(set(trial["drawn"]["image_ids"]))]
    rest = rest.assign(probability_uncalibrated=rest["probability"]).reset_index(drop=True)
    return Decision.from_dict(trial["decision"]).apply(rest)


def _warn_of_few(drawn: dict[str, int], images: int) -> None:
    if min(drawn.values()) < FEW_GROUPS:
        warnings.warn(
            f"recalibrate (--recalibrate) follows chance with fewer than {FEW_GROUPS} patients or "
            f"scenes of a class: {images} images drew {drawn['lump']} of lump and "
            f"{drawn['no_lump']} of no lump. Choose a larger number. Received: {images}",
            FewGroupsWarning,
            stacklevel=3,
        )


def _fit(
    truth: np.ndarray, prob: np.ndarray, groups: np.ndarray, settings: EvaluationConfig
) -> tuple[Recalibration, Decision]:
    rule = threshold_rule(settings, truth)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recalibration follows chance")  # said above
        found = recalibrate(truth, prob, groups, confidence=settings.confidence, **rule)
        calibrated = found.calibrator.apply(prob)
        conformal = fit_conformal(truth, calibrated, groups, coverage=settings.coverage)
    decision = Decision(
        found.calibrator,
        found.threshold.threshold,
        conformal,
        {
            # The words are of a run's validation images, and stand alone in cards and pages.
            "threshold": {
                **found.threshold.to_dict(),
                "words": found.threshold.words.replace("validation", "the recalibration images"),
            },
            "calibration": {"reason": f"recalibrated by {found.method}", "losses": []},
        },
    )
    return found, decision


def _curve(truth, prob, groups, images: int, seed: int) -> tuple[list[dict] | None, str]:
    sizes: Sequence[int] = [size for size in sorted({*SIZES, images}) if size <= len(truth) // 2]
    try:
        with warnings.catch_warnings():
            # A size that half of the groups cannot fill has no point in the figure.
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
