"""Robustness to image corruptions: predict function and images in, scores by severity out.

    result = robustness(predict, images, y_true, groups, threshold=0.5)

Each corruption of `corruptions` is applied to the images as they were read, before any
preprocessing. All scores come from the same resamples of groups, so that a change against the clean
images is paired.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from breastus.errors import ConfigError, DataError, ImageError, UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import GroupBootstrap
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predict_fn import PredictFn, predict_probabilities
from breastus.evaluation.robustness.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    check_severity,
    corruption,
)
from breastus.evaluation.robustness.scores import (
    CALIBRATION_ERROR,
    SCORES,
    ImageScores,
    score_interval,
    score_intervals,
    significant_changes,
)
from breastus.evaluation.validation import check_count, check_number

# Key in the result to the score whose change it tests.
SIGNIFICANCE = {
    "roc_auc_significant": "roc_auc",
    "calibration_error_significant": CALIBRATION_ERROR,
}

Images = Sequence[np.ndarray] | Callable[[int], np.ndarray]

_INTERVAL = (
    "percentile bootstrap over groups (patients or scenes) with shared resamples; Wilson's over "
    "groups for a proportion of exactly 0 or 1"
)


def robustness(
    predict: PredictFn,
    images: Images,
    y_true: Sequence[int],
    groups: Sequence,
    *,
    threshold: float,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
    options: EvaluationOptions = DEFAULTS,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, Any]:
    """Score a model on corrupted images.

    Args:
        predict: list of uint8 [H, W, 3] to their probabilities of lump, [n].
        images: uint8 [H, W, 3] each, or a function from the number of an image, 0 to n - 1, to its
            pixels; then no more than a batch of them is held in memory.
        y_true: int [n], 1 for lump.
        groups: [n], name of each image's group.
        threshold: images are predicted lump when their probability is at least this.
        severities: severities to measure, 1 to 5.
        corruptions: names of `CORRUPTIONS`; None takes them all.
        options: resamples, level, and the seed of the resamples and, with an image's number, of
            its corruptions.
        batch_size: images that are loaded, corrupted and predicted at a time.
        progress: show a progress bar on a terminal.

    Returns:
        `n`, `n_groups`, `n_lump`, `n_no_lump`, the settings; `clean`: for each of `SCORES` `value`,
        `ci_low`, `ci_high`; `corruptions`: by name `title`, `description`, `unit`, `values`,
        `reason` and `severities`, a list of the scores at each, with `change`, `change_ci_low` and
        `change_ci_high`, `severity`, `level`, and `roc_auc_significant` and
        `calibration_error_significant`, whether these two changes are significant, see
        `significant_changes`. Scores are NaN when a class has no image, intervals when it comes
        from fewer than two groups.

    Raises:
        ConfigError: when a corruption or severity is unknown, or an option out of range.
        DataError: when there is no image, arrays do not fit, `predict` does not return one
            probability for each image, or an image cannot be corrupted.

    Warns:
        UndefinedMetricWarning: when scores or intervals are NaN.
    """
    chosen = cells(corruptions, severities)
    check_number("threshold", threshold, inclusive=True)
    check_count("batch_size", batch_size)
    y_true, groups = _check_images(images, y_true, groups)
    confidence, seed = options.confidence, options.seed
    bootstrap = GroupBootstrap.draw(y_true, groups, options, expand=False)
    probabilities = _probabilities(
        predict, images, len(y_true), chosen, seed=seed, batch_size=batch_size, progress=progress
    )
    _warn_sparse(y_true, bootstrap.sparse)
    clean, *corrupted = [ImageScores(y_true, row, threshold, bootstrap) for row in probabilities]
    described = [
        _described(scores, groups, bootstrap.tail, confidence) for scores in (clean, *corrupted)
    ]
    significant = {
        key: _significant(score, clean, corrupted, confidence)
        for key, score in SIGNIFICANCE.items()
    }
    by_name: dict[str, list] = {name: [] for name, _ in chosen}
    for number, ((name, severity), scores) in enumerate(zip(chosen, corrupted, strict=True)):
        entry = described[1 + number]
        for score in SCORES:
            change = scores.values[score] - clean.values[score]
            drawn = scores.drawn[score] - clean.drawn[score]
            low, high = score_interval(score, change, drawn, bootstrap.tail)
            entry[score] |= {"change": change, "change_ci_low": low, "change_ci_high": high}
        level = CORRUPTIONS[name].values[severity - 1]
        tests = {key: bool(found[number]) for key, found in significant.items()}
        by_name[name].append({"severity": int(severity), "level": level, **entry, **tests})
    return {
        "n": len(y_true),
        "n_groups": len(np.unique(groups)),
        "n_lump": int(y_true.sum()),
        "n_no_lump": int((1 - y_true).sum()),
        "threshold": threshold,
        "severities": [int(severity) for severity in severities],
        "confidence": confidence,
        "resamples": options.resamples,
        "seed": seed,
        "interval_method": _INTERVAL,
        "clean": described[0],
        "corruptions": {
            name: {
                "title": CORRUPTIONS[name].title,
                "description": CORRUPTIONS[name].description,
                "unit": CORRUPTIONS[name].unit,
                "values": [CORRUPTIONS[name].values[severity - 1] for severity in severities],
                "reason": CORRUPTIONS[name].reason,
                "severities": entries,
            }
            for name, entries in by_name.items()
        },
    }


def cells(corruptions: Sequence[str] | None, severities: Sequence[int]) -> list[tuple[str, int]]:
    """Return the pairs of corruption and severity to measure, in order.

    Args:
        corruptions: names of `CORRUPTIONS`; None takes them all.
        severities: severities, 1 to 5.

    Raises:
        ConfigError: when a corruption or severity is unknown, repeated or missing.
    """
    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for severity in severities:
        check_severity(severity)
    for what, chosen in (("corruptions", names), ("severities", list(severities))):
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"{what} must name at least one, each once. Received: {chosen}")
    return [(corruption(name).name, severity) for name in names for severity in severities]


def _significant(score: str, clean: ImageScores, corrupted: list, confidence: float) -> np.ndarray:
    """Return bool [cells], whether the change of a score is significant."""
    change = np.array([scores.values[score] - clean.values[score] for scores in corrupted])
    drawn = np.array([scores.drawn[score] - clean.drawn[score] for scores in corrupted])
    if score == CALIBRATION_ERROR and drawn.size:
        # Resampling adds to a calibration error, less so where it is large.
        drawn = drawn - (np.nanmedian(drawn, axis=1) - change)[:, None]
    return significant_changes(change, drawn, confidence)


def _check_images(images: Images, y_true, groups) -> tuple[np.ndarray, np.ndarray]:
    y_true, groups = np.asarray(list(y_true)), np.asarray(list(groups))
    count = len(y_true) if callable(images) else len(images)
    if not count:
        raise DataError("There must be at least one image to corrupt. Received: none")
    if not len(y_true) == len(groups) == count:
        raise DataError(
            "images, y_true and groups must have the same length. "
            f"Received: {count}, {len(y_true)}, {len(groups)}"
        )
    if not np.isin(y_true, (0, 1)).all():
        raise DataError(f"y_true must hold 0 and 1. Received: {sorted(set(y_true.tolist()))}")
    return y_true.astype(int), groups


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
        total=total, desc="corrupting images", leave=False, disable=None if progress else True
    ) as bar:
        for start in starts:
            numbers = range(start, min(start + batch_size, count))
            clean = [load(number) for number in numbers]
            result[0, numbers] = predict_probabilities(predict, clean, of="clean images")
            bar.update()
            for row, (name, severity) in enumerate(cells, start=1):
                corrupted = list(_corrupted(clean, numbers, name, severity, seed))
                result[row, numbers] = predict_probabilities(
                    predict, corrupted, of=f"images with {name} at severity {severity}"
                )
                bar.update()
    return result


def _corrupted(clean, numbers, name: str, severity: int, seed: int) -> Iterator[np.ndarray]:
    for image, number in zip(clean, numbers, strict=True):
        try:
            yield CORRUPTIONS[name](image, severity, seed + number)
        except ImageError as error:
            raise DataError(
                f"Image number {number} cannot be corrupted by {name}. Leave out one of the two. "
                f"{error}"
            ) from error


def _warn_sparse(y_true: np.ndarray, sparse: Sequence[str]) -> None:
    for name in sparse:
        what = "Intervals" if (y_true == (name == "lump")).any() else "Scores and their intervals"
        warnings.warn(
            f"{what} are NaN: the images of {name} come from fewer than two groups.",
            UndefinedMetricWarning,
            stacklevel=3,
        )


def _described(scores: ImageScores, groups, tail: float, confidence: float) -> dict[str, dict]:
    intervals = score_intervals(scores, groups, tail=tail, confidence=confidence)
    return {
        name: {"value": scores.values[name], "ci_low": low, "ci_high": high}
        for name, (low, high) in intervals.items()
    }
