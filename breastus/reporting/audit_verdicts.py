"""Verdicts of an audit as plain sentences: alarming, cautionary or good."""

from typing import NamedTuple

import pandas as pd

from breastus.auditing.run_audit import Audit, SplitAudit
from breastus.auditing.shortcuts import ALL
from breastus.data.image_statistics import STATISTICS
from breastus.data.manifest.schema import exclusion_kinds
from breastus.labels import LABELS
from breastus.reporting.format import count, percent, words

ALARM, WARNING, GOOD = "alarm", "warning", "good"
# Smaller differences are of little use to a network, however certain they are (our choice).
_DIFFERENCE = 0.10  # of a flag's share between the classes
_AUC = 0.60  # of a single statistic, or 1 less it
_UNEVEN = 0.25  # share of the rarer class


class Verdict(NamedTuple):
    """One sentence on a data set, with its level (`alarm`, `warning` or `good`)."""

    level: str
    text: str


def verdicts(audit: Audit) -> list[Verdict]:
    """Return the verdicts of an audit, the most serious first."""
    found = [
        *(_of_split(split, audit.patients_known) for split in audit.splits),
        *_of_splitting(audit),
        *_of_random(audit),
        *_of_scenes(audit),
        *_of_files(audit),
        *_of_classes(audit),
        *_of_patients(audit),
        *_of_flags(audit),
        *_of_statistics(audit),
        *_of_masks(audit),
        *_of_mask_like_images(audit),
    ]
    order = (ALARM, WARNING, GOOD)
    return sorted(found, key=lambda verdict: order.index(verdict.level))


def _of_split(split: SplitAudit, patients: bool) -> Verdict:
    # Tuples keep the counts whole numbers, which rows of a table would not.
    rates = list(split.rates.itertuples())[::-1]
    parts = [
        f"{row.leaked} of {count(row.images, f'{row.Index} image')} ({percent(row.rate)}) "
        f"{'have' if row.leaked > 1 else 'has'} {_in_training(row)} in training"
        for row in rates
        if row.leaked
    ]
    if parts:
        return Verdict(
            ALARM,
            f"{_capital(split.title)} leaks: {', and '.join(parts)}. "
            "Scores on them are optimistic.",
        )
    if not rates:
        return Verdict(WARNING, f"{_capital(split.title)} holds no images of val or test.")
    whole = " and ".join(count(row.images, f"{row.Index} image") for row in rates)
    return Verdict(
        GOOD,
        f"{_capital(split.title)}: none of its {whole} has a near-duplicate"
        + (" or its patient" if patients else "")
        + (" in training; it never separates a group." if split.own else " in training."),
    )


def _in_training(row) -> str:
    if row.near_duplicate == row.leaked:
        return "a near-duplicate"
    if not row.near_duplicate:
        return "their patient"
    return f"a near-duplicate ({row.near_duplicate}) or their patient"


def _of_splitting(audit: Audit) -> list[Verdict]:
    if not audit.split_error:
        return []
    return [Verdict(ALARM, f"breastus cannot split these images. {audit.split_error}")]


def _of_random(audit: Audit) -> list[Verdict]:
    row = audit.random_split.loc["readable"]
    if not row["leaked"] > 0.005:
        return []
    what = "a near-duplicate in training"
    if row["leaked"] - row["near_duplicate"] > 0.005:
        what = f"a near-duplicate ({percent(row['near_duplicate'])}) or their patient in training"
    return [
        Verdict(
            WARNING,
            f"Do not split these images one by one. In a random 80/20 split of all "
            f"{count(row['images'], 'image')}, {percent(row['leaked'])} of the test images are "
            f"expected to have {what}.",
        )
    ]


def _of_scenes(audit: Audit) -> list[Verdict]:
    found = []
    if not audit.scenes:
        found.append(Verdict(GOOD, "No two images are near-duplicates of each other."))
    held = sum(len(scene.image_ids) for scene in audit.scenes)
    if contradicting := [scene for scene in audit.scenes if scene.contradicts]:
        grave = sum(bool({"normal", "no_lump"} & set(s.findings)) for s in contradicting)
        excluded = audit.manifest["excluded"].str.startswith("contradiction").any()
        found.append(
            Verdict(
                WARNING if excluded else ALARM,
                f"{count(len(contradicting), 'scene')} carry findings that contradict each other"
                + (f", {grave} of them lump against no lump" if grave else "")
                + ("; their images are excluded." if excluded else "; they are NOT excluded."),
            )
        )
    if across := sum(len(scene.sources) > 1 for scene in audit.scenes):
        found.append(
            Verdict(
                WARNING,
                f"{count(across, 'scene')} lie in more than one source: one of these sources "
                "cannot be the external test set of another.",
            )
        )
    if audit.scenes:
        found.append(
            Verdict(
                WARNING,
                f"{count(held, 'image')} of {len(audit.manifest):,} have a near-duplicate; they "
                f"show {count(len(audit.scenes), 'scene')}. Keep each scene in one split.",
            )
        )
    return found


def _of_files(audit: Audit) -> list[Verdict]:
    if audit.unreadable:
        return [
            Verdict(
                ALARM,
                f"{count(len(audit.unreadable), 'image')} cannot be read; see the list below.",
            )
        ]
    return [Verdict(GOOD, f"All {count(len(audit.manifest), 'image')} can be read.")]


def _of_classes(audit: Audit) -> list[Verdict]:
    found = []
    counts = audit.used["label"].value_counts().reindex(list(LABELS), fill_value=0)
    missing = [label for label in LABELS if not counts[label]]
    if missing:
        found.append(
            Verdict(ALARM, f"There are no images of {' and of '.join(map(words, missing))} to use.")
        )
    elif (share := counts.min() / counts.sum()) < _UNEVEN:
        found.append(
            Verdict(
                WARNING,
                f"Only {counts.min()} of {count(counts.sum(), 'image')} in use ({percent(share)}) "
                f"are {words(counts.idxmin())}: look at balanced accuracy, not at accuracy.",
            )
        )
    by_source = audit.used.groupby("source")["label"].agg(lambda label: (label == LABELS[1]).mean())
    if len(by_source) > 1 and by_source.max() - by_source.min() >= _DIFFERENCE:
        found.append(
            Verdict(
                WARNING,
                f"The share of lump is {percent(by_source.max())} in {by_source.idxmax()} and "
                f"{percent(by_source.min())} in {by_source.idxmin()}: a network may learn the "
                "source in place of the lump. Read scores source by source.",
            )
        )
    without = exclusion_kinds(audit.manifest).eq("") & audit.manifest["label"].eq("")
    if without.any():
        found.append(Verdict(WARNING, f"{count(without.sum(), 'image')} without a label."))
    return found


def _of_patients(audit: Audit) -> list[Verdict]:
    unknown = int((audit.manifest["patient_id"] == "").sum())
    if not unknown:
        return [Verdict(GOOD, "The patient of every image is known, so splits can go by patient.")]
    return [
        Verdict(
            WARNING,
            f"The patient of {count(unknown, 'image')} is unknown: images of one patient are kept "
            "together only if they look alike.",
        )
    ]


def _of_flags(audit: Audit) -> list[Verdict]:
    # By source, because the marks of a source may never have been recorded.
    by_source = audit.flags[audit.flags["source"] != ALL]
    return [
        Verdict(
            WARNING,
            f"Marks reveal the class in {row.source}: {row.flag} is on "
            f"{percent(row.lump / row.lump_images)} of the lump images and on "
            f"{percent(row.no_lump / row.no_lump_images)} of those without a lump.",
        )
        for row in by_source.itertuples()
        if abs(row.difference) >= _DIFFERENCE and (row.low > 0 or row.high < 0)
    ]


def _of_statistics(audit: Audit) -> list[Verdict]:
    telling = [
        f"{STATISTICS[row.statistic][0]} {max(row.auc, 1 - row.auc):.2f}"
        for row in _foremost(audit.statistics).itertuples()
        if max(row.auc, 1 - row.auc) >= _AUC and (row.low > 0.5 or row.high < 0.5)
    ]
    if telling:
        return [
            Verdict(
                WARNING,
                "Single statistics that have nothing to do with a lump separate the classes "
                f"(ROC-AUC): {'; '.join(telling)}. A score near these may be a shortcut.",
            )
        ]
    if audit.statistics["auc"].isna().all():
        return []
    return [Verdict(GOOD, "Neither size nor brightness alone clearly separates the classes.")]


def _of_masks(audit: Audit) -> list[Verdict]:
    masks = audit.masks()
    # A data set without any mask was released without them, which is not a fault.
    if not (audit.measured["masks"] > 0).any():
        return []
    found = [
        Verdict(
            ALARM if "no lump" in what else WARNING, f"Masks: {count(len(ids), 'image')}: {what}."
        )
        for what, ids in masks.items()
        if len(ids)
    ]
    return found or [Verdict(GOOD, "Every lump image has a mask of its size, and none is empty.")]


def _of_mask_like_images(audit: Audit) -> list[Verdict]:
    if not audit.mask_like:
        return []
    return [
        Verdict(
            ALARM,
            f"{count(len(audit.mask_like), 'image')} with few grey levels, as lesion masks and "
            "blank images have: a network would learn from these, not from B-mode images.",
        )
    ]


def _foremost(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all sources together where there are several; else all rows."""
    together = table["source"] == ALL
    return table[together] if together.any() else table


def _capital(text: str) -> str:
    return text if text.startswith("breastus") else text[:1].upper() + text[1:]
