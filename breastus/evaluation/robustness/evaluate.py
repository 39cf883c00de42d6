"""How scores hold when images get worse: predict function and images in, scores by severity out.

    result = robustness(predict, images, truth, groups, threshold=0.5)

Each corruption of `breastus.evaluation.robustness.corruptions` is applied to the images as they
were read, before any preprocessing. All scores come from the same resamples of groups, so that a
change against the clean images is one of pairs.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from breastus.errors import ConfigError, DataError, ImageError, UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import resample_weights
from breastus.evaluation.intervals.bootstrap_scores import (
    CALIBRATION_ERROR,
    SCORES,
    beyond_chance,
    bootstrap_scores,
    score_interval,
    score_intervals,
)
from breastus.evaluation.predict_fn import PredictFn, predict_probabilities
from breastus.evaluation.robustness.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    check_severity,
    corruption,
)

# What is said of each change, and of which score.
BEYOND = {"beyond_chance": "roc_auc", "calibration_beyond_chance": CALIBRATION_ERROR}

Images = Sequence[np.ndarray] | Callable[[int], np.ndarray]

_INTERVAL = (
    "percentile bootstrap over groups (patients or scenes), the same resamples for all; for a "
    "share of exactly 0 or 1 Wilson's, over groups"
)


def robustness(
    predict: PredictFn,
    images: Images,
    truth: Sequence[int],
    groups: Sequence,
    *,
    threshold: float,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, Any]:
    """Score a model on images that get worse.

    Args:
        predict: list of uint8 [H, W, 3] to their probabilities of lump, [n].
        images: uint8 [H, W, 3] each, or a function from the number of an image, 0 to n - 1, to its
            pixels; then no more than a batch of them is held in memory.
        truth: int [n], 1 for lump.
        groups: [n], images of one patient or scene have the same.
        threshold: probability of lump from which an image is called lump.
        severities: which of 1 to 5.
        corruptions: names of `CORRUPTIONS`; None takes them all.
        resamples: bootstrap resamples, drawn by group.
        confidence: level of the intervals.
        seed: of the resamples, and with an image's number of what is random in its corruptions.
        batch_size: images that are loaded, made worse and predicted at a time.
        progress: show a bar where there is a terminal.

    Returns:
        What JSON holds, NaN apart: `n`, `n_groups`, `n_lump`, `n_no_lump`, the settings; `clean`,
        for each of `SCORES` `value`, `ci_low`, `ci_high`; `corruptions`, by name `title`,
        `meaning`, `unit`, `values`, `reason` and `severities`, a list of the scores at each, with
        `change`, `change_ci_low`, `change_ci_high` besides, `severity`, `level`, and
        `beyond_chance` and `calibration_beyond_chance`, whether ROC-AUC and calibration error
        change by more than chance does to any of them, as from
        `breastus.evaluation.intervals.bootstrap_scores.beyond_chance`. Scores are NaN where
        a class has no image,
        intervals where it has fewer than two groups.

    Raises:
        ConfigError: for an unknown corruption, a severity that is none, a setting out of range.
        DataError: without images, when lengths differ, when `truth` is not 0 or 1, when `predict`
            does not return a probability for each image, or an image cannot be made worse.

    Warns:
        UndefinedMetricWarning: when scores or intervals are NaN.
    """
    chosen = cells(corruptions, severities)
    names = list(dict.fromkeys(name for name, _ in chosen))
    _check_settings(threshold, resamples, confidence, batch_size)
    truth, groups = _checked(images, truth, groups)
    probabilities = _probabilities(
        predict, images, len(truth), chosen, seed=seed, batch_size=batch_size, progress=progress
    )
    _warn_of_few(truth, groups)

    weights = resample_weights(groups, resamples=resamples, seed=seed)
    once = np.ones((1, len(truth)))
    few = any(len(np.unique(groups[truth == value])) < 2 for value in (0, 1))
    values, drawn = [], []
    for row in probabilities:
        scores = bootstrap_scores(truth, row, once, threshold=threshold)
        values.append({name: float(score[0]) for name, score in scores.items()})
        scores = bootstrap_scores(truth, row, weights, threshold=threshold)
        drawn.append({k: np.full(resamples, np.nan) if few else v for k, v in scores.items()})
    described = [
        _described(value, resample, truth, groups, confidence)
        for value, resample in zip(values, drawn, strict=True)
    ]
    beyond = {key: _beyond(score, values, drawn, confidence) for key, score in BEYOND.items()}
    found: dict[str, list] = {name: [] for name in names}
    for number, (name, severity) in enumerate(chosen, start=1):
        entry = described[number]
        for score in SCORES:
            change = values[number][score] - values[0][score]
            resampled = drawn[number][score] - drawn[0][score]
            low, high = score_interval(score, change, resampled, confidence)
            entry[score] |= {"change": change, "change_ci_low": low, "change_ci_high": high}
        level = CORRUPTIONS[name].values[severity - 1]
        place = {"severity": int(severity), "level": level}
        marks = {key: bool(marked[number - 1]) for key, marked in beyond.items()}
        found[name].append({**place, **entry, **marks})
    return {
        "n": len(truth),
        "n_groups": len(np.unique(groups)),
        "n_lump": int(truth.sum()),
        "n_no_lump": int((1 - truth).sum()),
        "threshold": threshold,
        "severities": [int(severity) for severity in severities],
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
        "interval": _INTERVAL,
        "clean": described[0],
        "corruptions": {
            name: {
                "title": CORRUPTIONS[name].title,
                "meaning": CORRUPTIONS[name].meaning,
                "unit": CORRUPTIONS[name].unit,
                "values": [CORRUPTIONS[name].values[severity - 1] for severity in severities],
                "reason": CORRUPTIONS[name].reason,
                "severities": found[name],
            }
            for name in names
        },
    }


def cells(corruptions: Sequence[str] | None, severities: Sequence[int]) -> list[tuple[str, int]]:
    """Return the corruptions and severities that are to be measured, in order.

    Args:
        corruptions: names of `CORRUPTIONS`; None takes them all.
        severities: which of 1 to 5.

    Raises:
        ConfigError: for an unknown corruption or severity, none of them, or one that comes twice.
    """
    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for severity in severities:
        check_severity(severity)
    for what, chosen in (("corruptions", names), ("severities", list(severities))):
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"{what} must name at least one, each once. Received: {chosen}")
    return [(corruption(name).name, severity) for name in names for severity in severities]


def _beyond(score: str, values: list, drawn: list, confidence: float) -> np.ndarray:
    """Return bool [cells], which changes of a score chance does not explain."""
    change = np.array([value[score] - values[0][score] for value in values[1:]])
    resampled = np.array([resample[score] - drawn[0][score] for resample in drawn[1:]])
    if score == CALIBRATION_ERROR and not np.isnan(resampled).all():
        # Resampling adds to it, and not alike to all: less so where it is large.
        resampled = resampled - (np.nanmedian(resampled, axis=1) - change)[:, None]
    return beyond_chance(change, resampled, confidence)


def _check_settings(threshold: float, resamples: int, confidence: float, batch_size: int) -> None:
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be from 0 to 1. Received: {threshold}")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must be above 0 and below 1. Received: {confidence}")
    for name, value in (("resamples", resamples), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1. Received: {value}")


def _checked(images: Images, truth, groups) -> tuple[np.ndarray, np.ndarray]:
    truth, groups = np.asarray(list(truth)), np.asarray(list(groups))
    count = len(truth) if callable(images) else len(images)
    if not count:
        raise DataError("There must be at least one image to be made worse. Received: none")
    if not len(truth) == len(groups) == count:
        raise DataError(
            "images, truth and groups must be of one length. "
            f"Received: {count}, {len(truth)}, {len(groups)}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise DataError(f"truth must hold 0 and 1. Received: {sorted(set(truth.tolist()))}")
    return truth.astype(int), groups


def _probabilities(
    predict: PredictFn, images: Images, count: int, cells, *, seed: int, batch_size: int, progress
) -> np.ndarray:
    """Return float [1 + cells, n]; the first row is of the clean images."""
    load = images if callable(images) else images.__getitem__
    result = np.empty((1 + len(cells), count))
    starts = range(0, count, batch_size)
    total = len(starts) * len(result)
    # None shows the bar on a terminal alone.
    with tqdm(
        total=total, desc="making worse", leave=False, disable=None if progress else True
    ) as bar:
        for start in starts:
            numbers = range(start, min(start + batch_size, count))
            clean = [load(number) for number in numbers]
            result[0, numbers] = predict_probabilities(predict, clean, of="clean images")
            bar.update()
            for row, (name, severity) in enumerate(cells, start=1):
                worse = list(_worse(clean, numbers, name, severity, seed))
                said = predict_probabilities(
                    predict, worse, of=f"images with {name} at severity {severity}"
                )
                result[row, numbers] = said
                bar.update()
    return result


def _worse(clean, numbers, name: str, severity: int, seed: int) -> Iterator[np.ndarray]:
    for image, number in zip(clean, numbers, strict=True):
        try:
            yield CORRUPTIONS[name](image, severity, seed + number)
        except ImageError as error:
            raise DataError(
                f"Image number {number} cannot have {name}. Leave out one of them. {error}"
            ) from error


def _warn_of_few(truth: np.ndarray, groups: np.ndarray) -> None:
    for name, value in (("no lump", 0), ("lump", 1)):
        count = len(np.unique(groups[truth == value]))
        if count < 2:
            what = "Scores and their intervals" if count == 0 else "Intervals"
            warnings.warn(
                f"{what} are NaN: the images of {name} come from fewer than two groups.",
                UndefinedMetricWarning,
                stacklevel=3,
            )


def _described(values, drawn, truth, groups, confidence) -> dict[str, dict[str, float]]:
    bounds = score_intervals(values, drawn, truth=truth, groups=groups, confidence=confidence)
    return {
        name: {"value": values[name], "ci_low": bounds[name][0], "ci_high": bounds[name][1]}
        for name in SCORES
    }
