"""Verdicts of an audit as plain sentences: alarming, cautionary or good."""

from collections.abc import Iterator

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

Verdict = tuple[str, str]  # level (`alarm`, `warning` or `good`) and sentence


def verdicts(audit: Audit) -> list[Verdict]:
    """Return the verdicts of an audit, the most serious first."""
    found = [
        *(_of_split(split, audit.patients_known) for split in audit.splits),
        *_of_splitting(audit),
        *_of_scenes(audit),
        *_of_files(audit),
        *_of_classes(audit),
        *_of_patients(audit),
        *_of_flags(audit),
        *_of_statistics(audit),
        *_of_masks(audit),
    ]
    order = (ALARM, WARNING, GOOD)
    return sorted(found, key=lambda verdict: order.index(verdict[0]))


def _of_split(split: SplitAudit, patients: bool) -> Verdict:
    title = split.title if split.own else split.title[:1].upper() + split.title[1:]
    # Tuples keep the counts whole numbers, which rows of a table would not.
    rates = list(split.rates.itertuples())[::-1]
    parts = [
        f"{row.leaked} of {count(row.images, f'{row.Index} image')} ({percent(row.rate)}) "
        f"{'have' if row.leaked > 1 else 'has'} {_in_training(row)} in training"
        for row in rates
        if row.leaked
    ]
    if parts:
        return ALARM, f"{title} leaks: {', and '.join(parts)}. Scores on them are optimistic."
    if not rates:
        return WARNING, f"{title} holds no images of val or test."
    whole = " and ".join(count(row.images, f"{row.Index} image") for row in rates)
    return (
        GOOD,
        f"{title}: none of its {whole} has a near-duplicate"
        + (" or its patient" if patients else "")
        + (" in training; it never separates a group." if split.own else " in training."),
    )


def _in_training(row) -> str:
    if row.near_duplicate == row.leaked:
        return "a near-duplicate"
    if not row.near_duplicate:
        return "their patient"
    return f"a near-duplicate ({row.near_duplicate}) or their patient"


def _of_splitting(audit: Audit) -> Iterator[Verdict]:
    if audit.split_error:
        yield ALARM, f"breastus cannot split these images. {audit.split_error}"
    row = audit.random_split.loc["readable"]
    if not row["leaked"] > 0.005:
        return
    what = "a near-duplicate in training"
    if row["leaked"] - row["near_duplicate"] > 0.005:
        what = f"a near-duplicate ({percent(row['near_duplicate'])}) or their patient in training"
    yield (
        WARNING,
        f"Do not split these images one by one. In a random 80/20 split of all "
        f"{count(row['images'], 'image')}, {percent(row['leaked'])} of the test images are "
        f"expected to have {what}.",
    )


def _of_scenes(audit: Audit) -> Iterator[Verdict]:
    if not audit.scenes:
        yield GOOD, "No two images are near-duplicates of each other."
        return
    if contradicting := [scene for scene in audit.scenes if scene.contradicts]:
        grave = sum(bool({"normal", "no_lump"} & set(s.findings)) for s in contradicting)
        excluded = audit.manifest["excluded"].str.startswith("contradiction").any()
        yield (
            WARNING if excluded else ALARM,
            f"{count(len(contradicting), 'scene')} carry findings that contradict each other"
            + (f", {grave} of them lump against no lump" if grave else "")
            + ("; their images are excluded." if excluded else "; they are NOT excluded."),
        )
    if across := sum(len(scene.sources) > 1 for scene in audit.scenes):
        yield (
            WARNING,
            f"{count(across, 'scene')} lie in more than one source: one of these sources cannot be "
            "the external test set of another.",
        )
    held = sum(len(scene.image_ids) for scene in audit.scenes)
    yield (
        WARNING,
        f"{count(held, 'image')} of {len(audit.manifest):,} have a near-duplicate; they show "
        f"{count(len(audit.scenes), 'scene')}. Keep each scene in one split.",
    )


def _of_files(audit: Audit) -> Iterator[Verdict]:
    if audit.unreadable:
        yield ALARM, f"{count(len(audit.unreadable), 'image')} cannot be read; see the list below."
    else:
        yield GOOD, f"All {count(len(audit.manifest), 'image')} can be read."


def _of_classes(audit: Audit) -> Iterator[Verdict]:
    counts = audit.used["label"].value_counts().reindex(list(LABELS), fill_value=0)
    if missing := [words(label) for label in LABELS if not counts[label]]:
        yield ALARM, f"There are no images of {' and of '.join(missing)} to use."
    elif (share := counts.min() / counts.sum()) < _UNEVEN:
        yield (
            WARNING,
            f"Only {counts.min()} of {count(counts.sum(), 'image')} in use ({percent(share)}) are "
            f"{words(counts.idxmin())}: look at balanced accuracy, not at accuracy.",
        )
    by_source = audit.used.groupby("source")["label"].agg(lambda label: (label == LABELS[1]).mean())
    if len(by_source) > 1 and by_source.max() - by_source.min() >= _DIFFERENCE:
        yield (
            WARNING,
            f"The share of lump is {percent(by_source.max())} in {by_source.idxmax()} and "
            f"{percent(by_source.min())} in {by_source.idxmin()}: a network may learn the source "
            "in place of the lump. Read scores source by source.",
        )
    without = exclusion_kinds(audit.manifest).eq("") & audit.manifest["label"].eq("")
    if without.any():
        yield WARNING, f"{count(without.sum(), 'image')} without a label."


def _of_patients(audit: Audit) -> Iterator[Verdict]:
    if unknown := int((audit.manifest["patient_id"] == "").sum()):
        yield (
            WARNING,
            f"The patient of {count(unknown, 'image')} is unknown: images of one patient are kept "
            "together only if they look alike.",
        )
    else:
        yield GOOD, "The patient of every image is known, so splits can go by patient."


def _of_flags(audit: Audit) -> Iterator[Verdict]:
    # By source, because the marks of a source may never have been recorded.
    for row in audit.flags[audit.flags["source"] != ALL].itertuples():
        if abs(row.difference) >= _DIFFERENCE and (row.low > 0 or row.high < 0):
            yield (
                WARNING,
                f"Marks reveal the class in {row.source}: {row.flag} is on "
                f"{percent(row.lump / row.lump_images)} of the lump images and on "
                f"{percent(row.no_lump / row.no_lump_images)} of those without a lump.",
            )


def _of_statistics(audit: Audit) -> Iterator[Verdict]:
    telling = [
        f"{STATISTICS[row.statistic][0]} {max(row.auc, 1 - row.auc):.2f}"
        for row in _foremost(audit.statistics).itertuples()
        if max(row.auc, 1 - row.auc) >= _AUC and (row.low > 0.5 or row.high < 0.5)
    ]
    if telling:
        yield (
            WARNING,
            "Single statistics that have nothing to do with a lump separate the classes "
            f"(ROC-AUC): {'; '.join(telling)}. A score near these may be a shortcut.",
        )
    elif not audit.statistics["auc"].isna().all():
        yield GOOD, "Neither size nor brightness alone clearly separates the classes."


def _of_masks(audit: Audit) -> Iterator[Verdict]:
    # A data set without any mask was released without them, which is not a fault.
    if (audit.measured["masks"] > 0).any():
        problems = {what: ids for what, ids in audit.masks().items() if len(ids)}
        for problem, ids in problems.items():
            level = ALARM if "no lump" in problem else WARNING
            yield level, f"Masks: {count(len(ids), 'image')}: {problem}."
        if not problems:
            yield GOOD, "Every lump image has a mask of its size, and none is empty."
    if audit.mask_like:
        yield (
            ALARM,
            f"{count(len(audit.mask_like), 'image')} with few grey levels, as lesion masks and "
            "blank images have: a network would learn from these, not from B-mode images.",
        )


def _foremost(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all sources together where there are several; else all rows."""
    together = table["source"] == ALL
    return table[together] if together.any() else table
