"""What an audit comes to, in plain sentences: what is alarming, what to watch, what is good."""

from typing import NamedTuple

import pandas as pd

from breastus.audit.run_audit import Audit, SplitAudit
from breastus.audit.shortcuts import ALL
from breastus.data.image_statistics import STATISTICS
from breastus.data.manifest.schema import exclusion_kinds
from breastus.labels import LABELS

ALARM, WARNING, GOOD = "alarm", "warning", "good"
# Below these a difference is of no use to a network, however certain it is (our choice).
_DIFFERENCE = 0.10  # of a flag's share between the classes
_AUC = 0.60  # of a single statistic, or 1 less it
_UNEVEN = 0.25  # share of the rarer class


class Verdict(NamedTuple):
    """One sentence on a data set, and how grave it is (`alarm`, `warning` or `good`)."""

    level: str
    text: str


def verdicts(audit: Audit) -> list[Verdict]:
    """Return the sentences, the gravest first."""
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
    ]
    order = (ALARM, WARNING, GOOD)
    return sorted(found, key=lambda verdict: order.index(verdict.level))


def counted(count: int, noun: str = "image") -> str:
    """Return `1 image`, `2 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def words(label: str) -> str:
    """Return a label as it is spoken: `no lump`."""
    return label.replace("_", " ")


def percent(share: float) -> str:
    """Return a share as `42 %`, a small one with a decimal; `undefined` for NaN."""
    if share != share:
        return "undefined"
    return f"{share:.1%}".replace("%", " %") if 0 < share < 0.01 else f"{100 * share:.0f} %"


def _of_split(split: SplitAudit, patients: bool) -> Verdict:
    # As tuples, as rows of a table would turn the counts into fractions.
    shares = list(split.shares.itertuples())[::-1]
    parts = [
        f"{row.either} of {counted(row.images, f'{row.Index} image')} ({percent(row.share)}) "
        f"{'have' if row.either > 1 else 'has'} {_in_training(row)} in training"
        for row in shares
        if row.either
    ]
    if parts:
        return Verdict(
            ALARM,
            f"{_capital(split.title)} leaks: {', and '.join(parts)}. Scores on them flatter.",
        )
    if not shares:
        return Verdict(WARNING, f"{_capital(split.title)} holds no images of val or test.")
    whole = " and ".join(counted(row.images, f"{row.Index} image") for row in shares)
    return Verdict(
        GOOD,
        f"{_capital(split.title)}: none of its {whole} has a twin"
        + (" or its patient" if patients else "")
        + (" in training; it never cuts groups apart." if split.own else " in training."),
    )


def _in_training(row) -> str:
    if row.twin == row.either:
        return "a twin"
    if not row.twin:
        return "their patient"
    return f"a twin ({row.twin}) or their patient"


def _of_splitting(audit: Audit) -> list[Verdict]:
    if not audit.no_own_split:
        return []
    return [Verdict(ALARM, f"breastus cannot split these images. {audit.no_own_split}")]


def _of_random(audit: Audit) -> list[Verdict]:
    row = audit.random.loc["readable"]
    if not row["either"] > 0.005:
        return []
    what = "a twin in training"
    if row["either"] - row["twin"] > 0.005:
        what = f"a twin ({percent(row['twin'])}) or their patient in training"
    return [
        Verdict(
            WARNING,
            f"Do not split these images one by one: in a random 80/20 split of all "
            f"{counted(int(row['images']))} {percent(row['either'])} of the test images must be "
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
        left_out = audit.manifest["excluded"].str.startswith("contradiction").any()
        found.append(
            Verdict(
                WARNING if left_out else ALARM,
                f"{counted(len(contradicting), 'scene')} carry findings that contradict each other"
                + (f", {grave} of them lump against no lump" if grave else "")
                + ("; their images are left out." if left_out else "; they are NOT left out."),
            )
        )
    if across := sum(len(scene.sources) > 1 for scene in audit.scenes):
        found.append(
            Verdict(
                WARNING,
                f"{counted(across, 'scene')} lie in more than one source: these sources cannot "
                "test each other as they are.",
            )
        )
    if audit.scenes:
        found.append(
            Verdict(
                WARNING,
                f"{counted(held)} of {len(audit.manifest):,} have at least one twin; they show "
                f"{counted(len(audit.scenes), 'scene')}. Twins belong on one side of every split.",
            )
        )
    return found


def _of_files(audit: Audit) -> list[Verdict]:
    if audit.unreadable:
        return [Verdict(ALARM, f"{counted(len(audit.unreadable))} cannot be read; listed below.")]
    return [Verdict(GOOD, f"All {counted(len(audit.manifest))} can be read.")]


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
                f"Only {counts.min()} of {counted(int(counts.sum()))} in use ({percent(share)}) "
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
        found.append(Verdict(WARNING, f"{counted(int(without.sum()))} without a label."))
    return found


def _of_patients(audit: Audit) -> list[Verdict]:
    unknown = int((audit.manifest["patient_id"] == "").sum())
    if not unknown:
        return [Verdict(GOOD, "The patient of every image is known, so splits can go by patient.")]
    return [
        Verdict(
            WARNING,
            f"Of {counted(unknown)} the patient is unknown: images of one patient are kept "
            "together only where they look alike.",
        )
    ]


def _of_flags(audit: Audit) -> list[Verdict]:
    # Source by source: in one of them nobody may have looked for marks.
    by_source = audit.flags[audit.flags["source"] != ALL]
    return [
        Verdict(
            WARNING,
            f"Marks tell the class in {row.source}: {row.flag} is on "
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
                "Single numbers that have nothing to do with a lump separate the classes "
                f"(ROC-AUC): {'; '.join(telling)}. A score near these may be a shortcut.",
            )
        ]
    if audit.statistics["auc"].isna().all():
        return []
    return [Verdict(GOOD, "Neither size nor brightness alone clearly tells the class.")]


def _of_masks(audit: Audit) -> list[Verdict]:
    masks = audit.masks()
    # Without any mask the set was released without them, which is no fault.
    if not (audit.measured["masks"] > 0).any():
        return []
    found = [
        Verdict(ALARM if "no lump" in what else WARNING, f"Masks: {counted(len(ids))}: {what}.")
        for what, ids in masks.items()
        if len(ids)
    ]
    return found or [Verdict(GOOD, "Every lump image has a mask of its size, and none is empty.")]


def _foremost(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all sources together where there are several; else all rows."""
    together = table["source"] == ALL
    return table[together] if together.any() else table


def _capital(text: str) -> str:
    return text if text.startswith("breastus") else text[:1].upper() + text[1:]
