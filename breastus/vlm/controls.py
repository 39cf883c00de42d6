"""Does a vision-language model look at the image? Controls, from the log odds of its answers.

The ROC-AUC is compared with the ROC-AUC of answers to a blank image, to noise, and to an image of
another patient or scene, and with shuffled labels. The answers are compared between both orders of
the options. Differences are paired, with intervals over groups.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import (
    expanded_tail,
    percentile_interval,
    resample_weights,
)
from breastus.evaluation.intervals.delong import delong_difference, delong_interval
from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.validation import group_numbers, image_counts

# Log odds that vary less between images move a probability by one point at most (a quarter of it).
NO_SPREAD = 0.04
VERDICTS = ("blind", "unrelated", "worse", "looks", "undetermined")


def run_controls(
    y_true: Sequence[int],
    groups: Sequence,
    log_odds: np.ndarray,
    *,
    blank: np.ndarray,
    noise: np.ndarray,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, Any]:
    """Compare a model's answers with controls.

    Args:
        y_true, groups: label and group of each image, [n].
        log_odds: log odds of yes against no, [n, questions, 2], as `Answer.log_odds`.
        blank: log odds of a blank image, [questions, 2].
        noise: log odds of a new noise image in the place of each image, [n, questions, 2].

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump`; `roc_auc`, as from `delong_interval`; `spread`, the
        standard deviation of the log odds between images; of `blank`, `noise` and `swapped`:
        `roc_auc`, `difference` (the model's minus the control's), `ci_low`, `ci_high`,
        `p_value` (from `delong_difference`), and `same_label`, the share of images that keep their
        label; of `shuffled`: `low` and `high`, within which the ROC-AUC of shuffled labels lies,
        and `p_value`; of `order`: `difference` of the log odds (a lump named first minus second)
        with `ci_low` and `ci_high`, and `same_label`; `verdict`:

        - `blind`: the log odds hardly differ between images.
        - `looks`: the ROC-AUC falls when images are swapped and when they are noise.
        - `worse`: it rises in both cases.
        - `unrelated`: neither is shown; the answers may vary with the image, not with its label.
        - `undetermined`: there is no interval, as with fewer than two groups of a class.

    Raises:
        DataError: if fewer than two groups are there to swap images between.
    """
    y_true, log_odds = np.asarray(y_true), np.asarray(log_odds, float)
    member = group_numbers(groups, len(y_true))
    if member.max() < 1:
        raise DataError(
            "Controls swap images between patients or scenes. Received: images of one group"
        )
    own = log_odds.mean(axis=(1, 2))
    other = own[swapped_images(member, seed=options.seed)]
    against = {
        "blank": np.full(len(own), np.mean(blank)),
        "noise": np.asarray(noise, float).mean(axis=(1, 2)),
        "swapped": other,
    }
    with warnings.catch_warnings():
        # What is undefined here is NaN in the result, and becomes the verdict.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = {
            name: _against(y_true, own, control, member, options.confidence)
            for name, control in against.items()
        }
        area = delong_interval(y_true, own, member, confidence=options.confidence)
    spread = float(own.std())
    return {
        **image_counts(y_true, member),
        "confidence": options.confidence,
        "roc_auc": area,
        "spread": spread,
        **found,
        "shuffled": _shuffled(y_true, own, member, options),
        "order": _order(log_odds, member, options),
        "verdict": _verdict(spread, found["swapped"], found["noise"]),
    }


def swapped_images(groups: Sequence, *, seed: int) -> np.ndarray:
    """Return for each image the index of one of another group, int [n], at random.

    Each image is drawn for about one other. There must be at least two groups.
    """
    member, random = np.asarray(groups), np.random.default_rng(seed)
    order = random.permutation(len(member))
    partner = np.empty(len(member), int)
    partner[order] = np.roll(order, 1)
    for image in np.flatnonzero(member[partner] == member):
        partner[image] = random.choice(np.flatnonzero(member != member[image]))
    return partner


def _against(
    y_true: np.ndarray, own: np.ndarray, control: np.ndarray, member: np.ndarray, confidence: float
) -> dict[str, Any]:
    change = delong_difference(y_true, own, control, member, confidence=confidence)
    return {
        "roc_auc": _area(y_true, control),
        "difference": change["difference"],
        "ci_low": change["ci_low"],
        "ci_high": change["ci_high"],
        "p_value": change["p_value"],
        "same_label": clustered_proportion(
            (own >= 0) == (control >= 0), member, confidence=confidence
        ),
    }


def _shuffled(
    y_true: np.ndarray, own: np.ndarray, member: np.ndarray, options: EvaluationOptions
) -> dict[str, float]:
    """Compare with labels that are dealt again, group after group in random order.

    The labels keep their order within and between groups, so that images of one group mostly keep
    one label.
    """
    random = np.random.default_rng(options.seed)
    labels = y_true[np.argsort(member, kind="stable")]
    areas = np.empty(options.resamples)
    for number in range(options.resamples):
        rank = random.permutation(member.max() + 1)
        shuffled = np.empty_like(labels)
        shuffled[np.argsort(rank[member], kind="stable")] = labels
        areas[number] = _area(shuffled, own)
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(areas, [tail, 1 - tail])
    # The observed labels are one of the orders.
    reached = (areas >= _area(y_true, own)).sum() + 1
    return {
        "low": float(low),
        "high": float(high),
        "p_value": float(reached / (options.resamples + 1)),
    }


def _order(log_odds: np.ndarray, member: np.ndarray, options: EvaluationOptions) -> dict[str, Any]:
    first, second = log_odds.mean(axis=1).T
    weights = resample_weights(member, resamples=options.resamples, seed=options.seed)
    drawn = weights @ (first - second) / weights.sum(axis=1)
    tail = expanded_tail(options.confidence, member.max() + 1)
    low, high = percentile_interval(drawn, tail)
    return {
        "difference": float((first - second).mean()),
        "ci_low": low,
        "ci_high": high,
        "same_label": clustered_proportion(
            (first >= 0) == (second >= 0), member, confidence=options.confidence
        ),
    }


def _area(y_true: np.ndarray, scores: np.ndarray) -> float:
    from scipy.stats import rankdata

    lumps = int(y_true.sum())
    if lumps in (0, len(y_true)):
        return float("nan")
    above = rankdata(scores)[y_true == 1].sum() - lumps * (lumps + 1) / 2
    return float(above / (lumps * (len(y_true) - lumps)))


def _verdict(spread: float, *controls: dict[str, Any]) -> str:
    if spread < NO_SPREAD:
        return "blind"
    if any(np.isnan(one["ci_low"]) for one in controls):
        return "undetermined"
    if all(one["ci_low"] > 0 for one in controls):
        return "looks"
    return "worse" if all(one["ci_high"] < 0 for one in controls) else "unrelated"
