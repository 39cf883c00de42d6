"""Scores of parts of the test images: predictions and attributes in, a table of subgroups out.

    result = subgroups(predictions, attributes, threshold=0.5)
    html = subgroups_section(result)      # breastus.reporting.subgroups_section

By finding, by size of the lesion, by what is drawn on the image or done to it, by source. A part
that has one class only, such as malignant lumps, is set against all images without a lump, or all
lumps, of the table: a sensitivity is of the part alone, a ROC-AUC of the part against the others.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from breastus.errors import ConfigError, DataError
from breastus.evaluation.intervals.clustered_proportion import clustered_proportion
from breastus.evaluation.intervals.delong import delong_interval
from breastus.evaluation.predictions import truth_and_probability
from breastus.labels import FINDINGS, LABELS, LUMP

# Wilson's interval of 5 of 5 still goes down to 0.57; of fewer, there is nothing worth a row.
MINIMUM = 5  # groups that a score needs, of each class it is of
SCORES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "roc_auc": "ROC-AUC"}
_BOUNDS = ("value", "ci_low", "ci_high")
_NEEDED = ("image_id", "group_id", "finding", "label", "probability")
_SIZES = {
    "lesion_area_fraction": ("share of the image", 100, "%"),
    "lesion_mm2": ("area", 1, "mm²"),
}


def subgroups(
    predictions: pd.DataFrame,
    attributes: pd.DataFrame,
    *,
    threshold: float | np.ndarray,
    confidence: float = 0.95,
    whole: dict[str, dict[str, float]] | None = None,
) -> dict[str, Any]:
    """Score each part of the images.

    Args:
        predictions: as from `read_predictions`.
        attributes: by `image_id`, whatever is known of `source` (text), `flags` (`;`-joined, as in
            a manifest), `lesion_area_fraction` (0 to 1, as from `breastus.data.masks`; NaN is
            unknown)
            and `lesion_mm2` (area where the spacing is known, else NaN). Other images may be in it.
        threshold: probability of lump from which an image is called lump; of each, [n], in the
            order of the predictions, where they were not called by one.
        confidence: level of the intervals.
        whole: scores of all images whose intervals are of another method; a part that holds all
            images of a class takes them, so that one number has one interval. None computes them
            like those of the other parts.

    Returns:
        What JSON holds, NaN apart: the settings, `minimum`, and `families`, a list with `name`,
        `title`, `note` and `parts`, a list with `title`, `n`, `n_groups`, `n_lump`, `n_no_lump`,
        `against` (what a part of one class is set against, or "") and for each of `SCORES`
        `value`, `ci_low`, `ci_high` and `reason`, which says why a value is NaN.

    Raises:
        ConfigError: for a setting out of range.
        DataError: without predictions, when a column is missing, or when `attributes` lacks an
            image or has it twice.
    """
    for name, value, fine in (
        (
            "threshold",
            threshold,
            bool(np.all((np.asarray(threshold) >= 0) & (np.asarray(threshold) <= 1))),
        ),
        ("confidence", confidence, 0 < confidence < 1),
    ):
        if not fine:
            raise ConfigError(f"{name} is out of range. Received: {value}")
    rows = _joined(predictions, attributes)
    judge = _Judge(rows, threshold, confidence)
    everything = np.ones(len(rows), bool)
    families = [_family("all", "All images", "", [("all", everything)], judge)]
    for name, title, note, parts in _families(rows):
        families.append(_family(name, title, note, parts, judge))
    if whole is not None:
        _use_known_scores(families, whole)
    return {
        "n": len(rows),
        "n_groups": int(rows["group_id"].nunique()),
        "threshold": np.asarray(threshold).tolist(),
        "confidence": confidence,
        "minimum": MINIMUM,
        "families": families,
    }


def _joined(predictions: pd.DataFrame, attributes: pd.DataFrame) -> pd.DataFrame:
    if missing := [column for column in _NEEDED if column not in predictions]:
        raise DataError(f"predictions lack the column {', '.join(missing)}.")
    if "image_id" not in attributes:
        raise DataError("attributes lack the column image_id.")
    if not len(predictions):
        raise DataError("There must be at least one prediction. Received: none")
    for what, given in (("predictions", predictions), ("attributes", attributes)):
        if (twice := given["image_id"].duplicated()).any():
            name = given.loc[twice, "image_id"].iloc[0]
            raise DataError(f"{what} must have each image once. Received: {name} twice")
    if not (fine := predictions["probability"].between(0, 1)).all():  # false for NaN as well
        row = predictions[~fine].iloc[0]
        raise DataError(
            f"The probability of {row['image_id']} must be from 0 to 1. "
            f"Received: {row['probability']}"
        )
    lost = predictions.loc[~predictions["image_id"].isin(attributes["image_id"]), "image_id"]
    if len(lost):
        raise DataError(
            f"attributes must have every image of the predictions. {len(lost)} are not there, "
            f"such as: {lost.iloc[0]}"
        )
    chosen = ["image_id", *(c for c in ("source", "flags", *_SIZES) if c in attributes)]
    rows = predictions[list(_NEEDED)].merge(
        attributes[chosen], on="image_id", how="left", validate="many_to_one"
    )
    for column in (column for column in _SIZES if column in rows):
        sizes = pd.to_numeric(rows[column], errors="coerce").to_numpy(float)
        if (sizes < 0).any() or (column == "lesion_area_fraction" and (sizes > 1).any()):
            wrong = sizes[(sizes < 0) | (sizes > 1)][0]
            raise DataError(f"{column} must be at least 0, a share at most 1. Received: {wrong:g}")
        rows[column] = sizes
    return rows


def _families(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, list]]:
    """Yield name, title, note and parts, each a title and bool [n], of each way to divide."""
    found = rows["finding"].to_numpy()
    parts = [(name, found == name) for name in FINDINGS if (found == name).any()]
    yield "finding", "By finding", "", parts
    for column, (what, factor, unit) in _SIZES.items():
        if column in rows and (made := _terciles(rows, column, what, factor, unit)):
            yield column, f"By size of the lesion, {what}", *made
    if "flags" in rows:
        flags = rows["flags"].fillna("").str.split(";")
        for flag in sorted({flag for several in flags for flag in several if flag}):
            has = flags.map(lambda several, flag=flag: flag in several).to_numpy(bool)
            name = flag.replace("_", " ")
            parts = [(f"with {name}", has), (f"without {name}", ~has)]
            yield f"flag:{flag}", f"By flag: {name}", "", parts
    if "source" in rows:
        sources = rows["source"].fillna("").to_numpy()
        names = sorted(set(sources))
        if len(names) > 1:
            parts = [(name or "unknown", sources == name) for name in names]
            yield "source", "By source", "", parts


def _terciles(rows: pd.DataFrame, column: str, what: str, factor: float, unit: str):
    """Return note and parts of the lumps by size, in thirds; None where no size is known."""
    size = rows[column].to_numpy()
    lump = (rows["label"] == LABELS[LUMP]).to_numpy()
    known = lump & (size > 0)
    if not known.any():
        return None
    low, high = np.quantile(size[known], [1 / 3, 2 / 3])
    cuts = [f"{factor * cut:.3g}" for cut in (low, high)]
    parts = [
        (f"small, up to {cuts[0]} {unit}", known & (size <= low)),
        (f"middle, {cuts[0]} to {cuts[1]} {unit}", known & (size > low) & (size <= high)),
        (f"large, above {cuts[1]} {unit}", known & (size > high)),
    ]
    note = f"Thirds of the {known.sum()} lumps whose size is known."
    if unknown := int((lump & ~known).sum()):
        note += f" Of {unknown} it is not."
    return note, parts


def _family(name: str, title: str, note: str, parts: list, judge: "_Judge") -> dict[str, Any]:
    judged = [{"title": part, **judge.part(inside)} for part, inside in parts]
    return {"name": name, "title": title, "note": note, "parts": judged}


def _use_known_scores(families: list[dict[str, Any]], whole: dict[str, dict[str, float]]) -> None:
    """Replace the scores of parts that hold all lumps, all other images, or both."""
    counts = families[0]["parts"][0]
    for part in (part for family in families for part in family["parts"]):
        complete = {
            "sensitivity": part["n_lump"] == counts["n_lump"],
            "specificity": part["n_no_lump"] == counts["n_no_lump"],
            "roc_auc": part["n"] == counts["n"],
        }
        for name in SCORES:
            if complete[name] and not part[name]["reason"]:
                part[name] |= {key: whole[name][key] for key in _BOUNDS}


class _Judge:
    """Scores of parts of one table."""

    def __init__(self, rows: pd.DataFrame, threshold, confidence):
        self.lump, self.prob = truth_and_probability(rows)
        self.lump = self.lump == 1
        self.groups = rows["group_id"].to_numpy()
        self.threshold, self.confidence = threshold, confidence

    def part(self, inside: np.ndarray) -> dict[str, Any]:
        """Score the images of bool [n]."""
        lumps, others = inside & self.lump, inside & ~self.lump
        against = ""
        compared = lumps, others
        if lumps.any() and not others.any():
            against, compared = "all images without a lump", (lumps, ~self.lump)
        elif others.any() and not lumps.any():
            against, compared = "all lumps", (self.lump, others)
        called = self.prob >= self.threshold
        return {
            "n": int(inside.sum()),
            "n_groups": self._count(inside),
            "n_lump": int(lumps.sum()),
            "n_no_lump": int(others.sum()),
            "against": against,
            "sensitivity": self._share(lumps, called, "lumps"),
            "specificity": self._share(others, ~called, "images without a lump"),
            "roc_auc": self._roc_auc(*compared),
        }

    def _count(self, chosen: np.ndarray) -> int:
        return len(np.unique(self.groups[chosen]))

    def _too_few(self, chosen: np.ndarray, what: str) -> str:
        if not chosen.any():
            return f"no {what}"
        count = self._count(chosen)
        return f"{what} of {count} groups, fewer than {MINIMUM}" if count < MINIMUM else ""

    def _share(self, among: np.ndarray, right: np.ndarray, what: str) -> dict[str, Any]:
        if reason := self._too_few(among, what):
            return _undefined(reason)
        found = clustered_proportion(right[among], self.groups[among], confidence=self.confidence)
        return {**{key: found[key] for key in _BOUNDS}, "reason": ""}

    def _roc_auc(self, lumps: np.ndarray, others: np.ndarray) -> dict[str, Any]:
        reasons = self._too_few(lumps, "lumps"), self._too_few(others, "images without a lump")
        if reason := "; ".join(filter(None, reasons)):
            return _undefined(reason)
        chosen = lumps | others
        truth, prob = self.lump[chosen].astype(int), self.prob[chosen]
        found = delong_interval(truth, prob, self.groups[chosen], confidence=self.confidence)
        return {**{key: found[key] for key in _BOUNDS}, "reason": ""}


def _undefined(reason: str) -> dict[str, Any]:
    return {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan, "reason": reason}
