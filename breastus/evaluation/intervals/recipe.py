"""Scores of a recipe: predictions of several trained models in, means with intervals out.

A recipe is what `train` repeats: another seed gives another split, other initial weights and
another order of images, and so another model. The score of one trained model varies with the test
images alone, the score of a recipe with the seed too, often more. Each image is predicted lump by
the threshold of its own model.

This is the design that radiology calls multi-reader multi-case, with seeds as readers (Obuchowski,
Rockette, Communications in Statistics, Simulation and Computation 24, 1995, 285). With scores s of
k seeds, their sample variance S^2, and the mean variance W of one score and the mean covariance C
of two of them that the test images cause, the mean score has the variance

    V = V_images + max(0, S^2 - (W - C)) / k,    V_images = W / k + C (k - 1) / k.

W, C and V_images come from resamples of groups that all seeds share, so that it does not matter
whether the seeds have the same test set, overlapping ones, or none in common. Student's t with
Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946, 110), as Hillis uses them
(Statistics in Medicine 26, 2007, 596), gives the interval. `docs/evaluation.md` has the coverage.
"""

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import ece_by_chance
from breastus.evaluation.intervals.bootstrap import MAX_UNDEFINED
from breastus.evaluation.intervals.metric_intervals import (
    OF_LABELS,
    Resampled,
    Sample,
    degenerate_proportion,
)
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import (
    read_predictions,
    thresholds_of,
    truth_and_probability,
)
from breastus.evaluation.validation import with_interval

MIN_SEEDS = 5  # fewer give no interval of a difference: their spread is too uncertain
_EPSILON = 1e-12  # a variance below this is rounding


class Spread(NamedTuple):
    """Variance of a mean score over seeds, and its degrees of freedom."""

    variance: float
    degrees: float


def read_recipe(paths: Sequence[str | os.PathLike]) -> list[pd.DataFrame]:
    """Read the predictions of a recipe: one CSV file for each trained model.

    Returns:
        Tables for `recipe_metrics` and `recipe_difference`.

    Raises:
        DataError: when a file cannot be read, see `breastus.evaluation.predictions`, or
            `check_recipe` refuses it.
    """
    tables = [read_predictions(path) for path in paths]
    check_recipe(list(zip(map(str, paths), tables, strict=True)))
    return tables


def check_recipe(models: Sequence[tuple[str, pd.DataFrame]]) -> None:
    """Refuse predictions unless each table is of another training.

    Args:
        models: name of each model (a file, a run) and its predictions.

    Raises:
        DataError: when a table has no thresholds, or two have the same images and probabilities.
    """
    known: dict[tuple, str] = {}
    for name, table in models:
        thresholds_of(table, name)
        rows = table.sort_values("image_id")
        content = tuple(rows["image_id"]), tuple(rows["probability"].astype(float))
        if content in known:
            raise DataError(
                "The models of a recipe must be trained separately: a copy would count as evidence "
                "that seeds agree. Remove one; a model that no seed changes is entered once. "
                f"Received: {known[content]} and {name} with the same predictions"
            )
        known[content] = name


def recipe_metrics(
    tables: Sequence[pd.DataFrame], *, options: EvaluationOptions = DEFAULTS
) -> dict[str, Any]:
    """Return the mean of each metric over the models of a recipe.

    Args:
        tables: predictions tables, one a trained model (a seed, or a repeat of a cross-validation),
            from one data set, so that a group's name means the same in each. The test sets may be
            the same, overlap or differ.
        options: resamples, level, prevalence and seed.

    Returns:
        Under each metric's name `value`, `seed_sd` (standard deviation over the models; NaN of
        one), `ci_low`, `ci_high`; `ece` also has `uncorrected` and `noise`, see `debiased_ece`.
        `confusion_matrix`, the mean counts; `n_tables`, `n` (images of each), `n_groups`,
        `per_table`, the metrics of every table, and `interval_of`: "recipe", or "one trained
        model" if there is one table, which has the intervals of `Resampled.intervals`.

        A value is NaN when one table leaves it undefined; intervals are NaN when more than 5 % of
        the resamples do, or a class comes from fewer than two groups.

    Raises:
        DataError: when there is no table, or one has no thresholds. See also `check_recipe`.
    """
    found = Resampled(samples_of(tables), options)
    if undefined := [name for name in METRICS if math.isnan(found.means[name])]:
        warnings.warn(
            f"The mean over {len(tables)} tables is NaN, because one leaves it undefined: "
            f"{', '.join(undefined)}.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    scenes, several = found.intervals(), len(tables) > 1
    entries = {}
    for name in METRICS:
        values = np.array([one[name] for one in found.each])
        interval = _interval(name, found, scenes[name]) if several else scenes[name]
        entries[name] = with_interval(found.means[name], interval) | {
            "seed_sd": float(values.std(ddof=1)) if several else math.nan
        }
    entries["ece"] |= found.ece
    return {
        "n_tables": len(tables),
        "n": [len(table) for table in tables],
        "n_groups": len(set(found.groups)),
        "interval_of": "recipe" if several else "one trained model",
        "confusion_matrix": found.means["confusion_matrix"].tolist(),
        "per_table": found.each,
        **entries,
    }


def recipe_difference(
    ours: Sequence[pd.DataFrame],
    theirs: Sequence[pd.DataFrame],
    *,
    options: EvaluationOptions = DEFAULTS,
) -> dict[str, Any]:
    """Return the difference of two recipes' mean metrics, ours minus theirs.

    Two recipes are paired if both have as many tables and the n-th of each has the same images, as
    with the same seeds and splits: what a split does to both then cancels. Otherwise their seeds
    count as independent; groups that both recipes were tested on still cancel.

    Args:
        ours: predictions tables as for `recipe_metrics`.
        theirs: another recipe's, of the same data set.
        options: resamples, level, prevalence and seed.

    Returns:
        Under each metric's name `value`, `ci_low`, `ci_high`; `paired`; `n_seeds`, of both; and
        `reason`, why there are no intervals, or "". With fewer than five seeds there are none.

    Raises:
        DataError: when there is no table, one has no thresholds, or both recipes give an image
            another label or group. See also `check_recipe`.
    """
    samples = samples_of(ours), samples_of(theirs)
    paired = _are_paired(*samples)
    number = len(ours)
    # Drawn together, so that a group counts as often in both recipes.
    every = Resampled([*samples[0], *samples[1]], options)
    few = min(number, len(theirs))
    reason = every.bootstrap.sparse_reason
    if few < MIN_SEEDS:
        reason = (
            f"fewer than {MIN_SEEDS} seeds ({few}): the variation between seeds is too uncertain "
            "for a difference"
        )
    result: dict[str, Any] = {
        "paired": paired,
        "n_seeds": [len(ours), len(theirs)],
        "reason": reason,
    }
    for name in METRICS:
        values, drawn = every.values(name), every.drawn_each[name]
        first, second = values[:number], values[number:]
        value = float(first.mean() - second.mean())
        interval = math.nan, math.nan
        if not reason and not math.isnan(value):
            ours_drawn, theirs_drawn = drawn[:, :number], drawn[:, number:]
            if paired:
                parts = [first - second], [ours_drawn - theirs_drawn]
            else:
                parts = [first, -second], [ours_drawn, -theirs_drawn]
            spread = seed_and_group_variance(*parts, every.groups_for(name))
            interval = _difference_interval(name, value, spread, every)
        result[name] = with_interval(value, interval)
    return result


def seed_and_group_variance(
    values: Sequence[np.ndarray], drawn: Sequence[np.ndarray], groups: int
) -> Spread:
    """Return the variance of a sum of mean scores, from seeds and groups together.

    Args:
        values: score of every seed, [k], of each recipe: one, or for a difference two, the second
            with its sign changed.
        drawn: scores in resamples of the groups, [resamples, k], of each recipe; all share the
            resamples.
        groups: number of groups of the rarer class that the score depends on, at least two.

    Returns:
        NaN for both when more than 5 % of the resamples are undefined.
    """
    defined = ~np.isnan(np.concatenate(drawn, axis=1)).any(axis=1)
    if not len(defined) or 1 - defined.mean() > MAX_UNDEFINED:
        return Spread(math.nan, math.nan)
    # Resamples of n groups vary too little by a factor of (n - 1) / n.
    correction = groups / (groups - 1)
    total = sum(scores[defined].mean(axis=1) for scores in drawn)
    variance, between = float(np.var(total, ddof=1)) * correction, []
    for scores, resampled in zip(values, drawn, strict=True):
        number = len(scores)
        covariance = np.cov(resampled[defined].T) * correction
        # W - C: what the test images contribute to the variance between seeds.
        own = (np.trace(covariance) - covariance.sum() / number) / (number - 1)
        spread = float(np.var(scores, ddof=1))
        variance += max(0.0, spread - own) / number
        between.append((spread / number, number - 1))
    if variance < _EPSILON:
        return Spread(0.0, groups - 1)
    # Satterthwaite: the seeds show one part of the variance, the groups the other.
    seen = sum(part for part, _ in between)
    scale = min(1.0, variance / seen) if seen else 0.0
    rest = variance - scale * seen
    fourth = sum((scale * part) ** 2 / degrees for part, degrees in between)
    return Spread(variance, variance**2 / (fourth + rest**2 / (groups - 1)))


def _interval(name: str, found: Resampled, scenes: tuple) -> tuple[float, float]:
    """Return the interval of a recipe's mean metric; `scenes`: the interval over groups alone."""
    value = found.means[name]
    if math.isnan(value) or math.isnan(scenes[0]) or found.bootstrap.sparse:
        return math.nan, math.nan
    spread = seed_and_group_variance(
        [found.values(name)], [found.drawn_each[name]], found.groups_for(name)
    )
    if math.isnan(spread.variance):
        return math.nan, math.nan
    if spread.variance < _EPSILON:  # all models alike, and every resample
        return scenes
    reach = _reach(spread, found.options.confidence)
    if name == "ece":
        # Noise hides an error on either side, so the interval contains the one over groups alone.
        noise = ece_by_chance(found.drawn["chance_ece"], found.bootstrap.tail)
        low = value - reach if found.ece["uncorrected"] > noise else 0.0
        return max(0.0, min(low, scenes[0])), min(1.0, max(value + reach, scenes[1]))
    if not METRICS[name].is_share:
        return value - reach, value + reach
    if not 0 < value < 1:
        return scenes
    return share_interval(
        value, spread, confidence=found.options.confidence, proportion=name in OF_LABELS
    )


def share_interval(
    value: float, spread: Spread, *, confidence: float, proportion: bool
) -> tuple[float, float]:
    """Return the interval of a mean score between 0 and 1, which it cannot leave.

    A proportion of images (accuracy, sensitivity, specificity) has Wilson's interval with Student's
    quantile, of as many images as have this variance. Other scores have a symmetric interval on the
    logit scale, as DeLong's.
    """
    if proportion:
        images = value * (1 - value) / spread.variance
        quantile = float(student.ppf((1 + confidence) / 2, spread.degrees))
        return wilson_interval(value * images, images, z=quantile)
    reach = _reach(spread, confidence) / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def _reach(spread: Spread, confidence: float) -> float:
    return float(student.ppf((1 + confidence) / 2, spread.degrees)) * math.sqrt(spread.variance)


def _difference_interval(
    name: str, value: float, spread: Spread, found: Resampled
) -> tuple[float, float]:
    confidence = found.options.confidence
    if math.isnan(spread.variance):
        return math.nan, math.nan
    if spread.variance < _EPSILON:
        if name not in OF_LABELS or abs(value) > _EPSILON:
            return math.nan, math.nan
        # Tango's interval (Statistics in Medicine 17, 1998, 891), as in `difference_intervals`.
        reach = degenerate_proportion(0, found.groups_of(name), confidence=confidence)[1]
    else:
        reach = _reach(spread, confidence)
    low, high = value - reach, value + reach
    return (max(-1.0, low), min(1.0, high)) if METRICS[name].is_share else (low, high)


def _are_paired(ours: Sequence[Sample], theirs: Sequence[Sample]) -> bool:
    """Return whether two recipes are paired; raise DataError where they contradict each other."""
    known: dict[str, tuple] = {}
    for sample in (*ours, *theirs):
        for image, *facts in zip(sample.images, sample.y_true, sample.groups, strict=True):
            if known.setdefault(image, tuple(facts)) != tuple(facts):
                raise DataError(
                    f"All tables must give an image the same label and group. Received: {image} "
                    f"with {known[image]} and {tuple(facts)} (label, group)."
                )
    return len(ours) == len(theirs) and all(
        set(one.images) == set(other.images) for one, other in zip(ours, theirs, strict=True)
    )


def samples_of(tables: Sequence[pd.DataFrame]) -> list[Sample]:
    """Return predictions tables as arrays, each with its own thresholds."""
    if not len(tables):
        raise DataError("A recipe needs the predictions of at least one model. Received: none")
    return [
        Sample(
            *truth_and_probability(table),
            table["group_id"].to_numpy(),
            thresholds_of(table, f"Table {number} of {len(tables)}"),
            table["image_id"].to_numpy(),
        )
        for number, table in enumerate(tables, 1)
    ]
