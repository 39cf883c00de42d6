"""Performance by subgroup: predictions and attributes in, scores of parts of the images out.

Subgroups are formed by finding, size of the lesion, flags (marks on the image) and source. A
subgroup of one class, such as malignant lumps, has its ROC-AUC against all images of the other
class.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from breastus.evaluation.intervals.delong import delong_interval
from breastus.evaluation.intervals.proportions import clustered_proportion
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import image_counts
from breastus.labels import FINDINGS, LABELS, LUMP

# Wilson's interval of 5 of 5 reaches down to 0.57; a score of fewer groups says nothing.
MINIMUM = 5  # groups of each class that a score is about
SCORES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "roc_auc": "ROC-AUC"}
_BOUNDS = ("value", "ci_low", "ci_high")
_SIZE = "lesion_area_fraction"


def subgroups(
    predictions: pd.DataFrame,
    attributes: pd.DataFrame,
    *,
    threshold: float | np.ndarray,
    confidence: float,
    whole: dict[str, dict[str, float]] | None,
) -> dict[str, Any]:
    """Score each subgroup of the images.

    Args:
        predictions: predictions table, as from `read_predictions`.
        attributes: `image_id` of the same images, `source` (text), `flags` (`;`-joined, as in a
            manifest) and `lesion_area_fraction` (0 to 1; NaN is unknown).
        threshold: one, or one an image, [n].
        whole: scores of all images, whose intervals are of another method. A subgroup that holds
            all images of a class takes them, so that one number has one interval. None
            computes them as for the other subgroups.

    Returns:
        The settings, `min_groups`, and `attributes`, a list with `name`, `title`, `note` and
        `subgroups`, a list with `title`, `n`, `n_groups`, `n_lump`, `n_no_lump`, `compared_with`
        (images that a subgroup of one class is compared with, or "") and for each of `SCORES`
        `value`, `ci_low`, `ci_high` and `reason`, which says why a value is NaN.
    """
    rows = predictions.merge(attributes, on="image_id", how="left", validate="one_to_one")
    scorer = _Scorer(rows, threshold, confidence)
    everything = ("all", "All images", "", [("all", np.ones(len(rows), bool))])
    by_attribute = [
        {
            "name": name,
            "title": title,
            "note": note,
            "subgroups": [{"title": part, **scorer.score(inside)} for part, inside in parts],
        }
        for name, title, note, parts in (everything, *_subgroups_by_attribute(rows))
    ]
    if whole is not None:
        _use_known_scores(by_attribute, whole)
    return {
        "n": len(rows),
        "n_groups": int(rows["group_id"].nunique()),
        "threshold": np.asarray(threshold).tolist(),
        "confidence": confidence,
        "min_groups": MINIMUM,
        "attributes": by_attribute,
    }


def _subgroups_by_attribute(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, list]]:
    """Yield name, title, note and subgroups (title and bool [n] of each) of each attribute."""
    found = rows["finding"].to_numpy()
    parts = [(name, found == name) for name in FINDINGS if (found == name).any()]
    yield "finding", "By finding", "", parts
    if terciles := _terciles(rows):
        yield _SIZE, "By size of the lesion, share of the image", *terciles
    flags = rows["flags"].str.split(";")
    for flag in sorted({flag for of_image in flags for flag in of_image if flag}):
        has = flags.map(lambda of_image, flag=flag: flag in of_image).to_numpy(bool)
        if has.all():  # no other images to compare with
            continue
        name = flag.replace("_", " ")
        parts = [(f"with {name}", has), (f"without {name}", ~has)]
        yield f"flag:{flag}", f"By flag: {name}", "", parts
    sources = rows["source"].to_numpy()
    names = sorted(set(sources))
    if len(names) > 1:
        parts = [(name or "unknown", sources == name) for name in names]
        yield "source", "By source", "", parts


def _terciles(rows: pd.DataFrame) -> tuple[str, list] | None:
    """Return note and subgroups of the lumps by thirds of size; None when no size is known."""
    size = rows[_SIZE].to_numpy()
    lump = (rows["label"] == LABELS[LUMP]).to_numpy()
    known = lump & (size > 0)
    if not known.any():
        return None
    low, high = np.quantile(size[known], [1 / 3, 2 / 3])
    cuts = [f"{100 * cut:.3g}" for cut in (low, high)]
    parts = [
        (f"small, up to {cuts[0]} %", known & (size <= low)),
        (f"middle, {cuts[0]} to {cuts[1]} %", known & (size > low) & (size <= high)),
        (f"large, above {cuts[1]} %", known & (size > high)),
    ]
    note = f"Thirds of the {known.sum()} lumps whose size is known."
    if unknown := int((lump & ~known).sum()):
        note += f" Of {unknown} it is not."
    return note, parts


def _use_known_scores(
    by_attribute: list[dict[str, Any]], whole: dict[str, dict[str, float]]
) -> None:
    """Replace the scores of subgroups that hold all lumps, all other images, or both."""
    counts = by_attribute[0]["subgroups"][0]
    for part in (part for attribute in by_attribute for part in attribute["subgroups"]):
        complete = {
            "sensitivity": part["n_lump"] == counts["n_lump"],
            "specificity": part["n_no_lump"] == counts["n_no_lump"],
            "roc_auc": part["n"] == counts["n"],
        }
        for name in SCORES:
            if complete[name] and not part[name]["reason"]:
                part[name] |= {key: whole[name][key] for key in _BOUNDS}


class _Scorer:
    """Scores of subgroups of one table."""

    def __init__(self, rows: pd.DataFrame, threshold, confidence):
        self.lump, self.prob = truth_and_probability(rows)
        self.lump = self.lump == 1
        self.groups = rows["group_id"].to_numpy()
        self.threshold, self.confidence = threshold, confidence

    def score(self, inside: np.ndarray) -> dict[str, Any]:
        """Return counts and scores of the images in bool [n]."""
        lumps, others = inside & self.lump, inside & ~self.lump
        against = ""
        compared = lumps, others
        if lumps.any() and not others.any():
            against, compared = "all images without a lump", (lumps, ~self.lump)
        elif others.any() and not lumps.any():
            against, compared = "all lumps", (self.lump, others)
        predicted = self.prob >= self.threshold
        return {
            **image_counts(self.lump[inside], self.groups[inside]),
            "compared_with": against,
            "sensitivity": self._proportion(lumps, predicted, "lumps"),
            "specificity": self._proportion(others, ~predicted, "images without a lump"),
            "roc_auc": self._roc_auc(*compared),
        }

    def _too_few(self, chosen: np.ndarray, what: str) -> str:
        if not chosen.any():
            return f"no {what}"
        count = len(np.unique(self.groups[chosen]))
        return f"{what} of {count} groups, fewer than {MINIMUM}" if count < MINIMUM else ""

    def _proportion(self, among: np.ndarray, right: np.ndarray, what: str) -> dict[str, Any]:
        found = clustered_proportion(right[among], self.groups[among], confidence=self.confidence)
        return _entry(found, self._too_few(among, what))

    def _roc_auc(self, lumps: np.ndarray, others: np.ndarray) -> dict[str, Any]:
        reasons = self._too_few(lumps, "lumps"), self._too_few(others, "images without a lump")
        if reason := "; ".join(filter(None, reasons)):
            return _entry({}, reason)
        chosen = lumps | others
        truth, prob = self.lump[chosen].astype(int), self.prob[chosen]
        found = delong_interval(truth, prob, self.groups[chosen], confidence=self.confidence)
        return _entry(found, "")


def _entry(found: dict[str, float], reason: str) -> dict[str, Any]:
    return {**{key: math.nan if reason else found[key] for key in _BOUNDS}, "reason": reason}
