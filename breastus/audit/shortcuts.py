"""Shortcuts: how far marks, size or brightness alone tell the class, with 95 % intervals.

All intervals count groups (patients or scenes) and not images, which may repeat each other.
"""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from breastus.data.image_statistics import STATISTICS
from breastus.evaluation.intervals.proportions import effective_size, newcombe_interval
from breastus.labels import LUMP, NO_LUMP, label_id

FLAG_COLUMNS = (
    "source",
    "flag",
    "lump",  # images of lump with the flag
    "lump_images",
    "no_lump",
    "no_lump_images",
    "difference",  # share in lump less share in no_lump, -1 to 1
    "low",
    "high",
)
STATISTIC_COLUMNS = ("source", "statistic", "auc", "low", "high")
ALL = "all sources"


def strata(manifest: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each source, and first of all together if there are several."""
    by_source = dict(iter(manifest.groupby("source")))
    return by_source if len(by_source) < 2 else {ALL: manifest, **by_source}


def flags_by_label(used: pd.DataFrame) -> pd.DataFrame:
    """Compare how often each flag stands on images of lump and of no_lump.

    Args:
        used: manifest rows that have a label.

    Returns:
        A table with the columns of `FLAG_COLUMNS`, the largest difference of each source first. A
        share of no images, and what is made of it, is NaN.
    """
    rows = []
    for source, part in strata(used).items():
        flags = part["flags"].str.split(";")
        of_source = []
        for flag in sorted({flag for held in flags for flag in held} - {""}):
            marked = flags.map(lambda held, flag=flag: flag in held).to_numpy(bool)
            of_source.append({"source": source, "flag": flag, **_compare(part, marked)})
        rows += sorted(of_source, key=lambda row: -abs(np.nan_to_num(row["difference"])))
    return pd.DataFrame(rows, columns=list(FLAG_COLUMNS))


def statistics_by_label(used: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Say how well each statistic of the pixels alone would tell lump from no_lump.

    Args:
        used: manifest rows that have a label.
        measured: index `image_id`, a column for each of `STATISTICS`; NaN where unreadable.

    Returns:
        A table with the columns of `STATISTIC_COLUMNS`: the ROC-AUC of the statistic as the score
        of a lump (below 0.5: lump images have smaller values), the strongest of each source first.
    """
    rows = []
    for source, part in strata(used).items():
        values = measured.loc[part["image_id"], list(STATISTICS)]
        known = values.notna().all(axis=1).to_numpy()
        positive = (part["label"].map(label_id) == LUMP).to_numpy()[known]
        groups = part["group_id"].to_numpy()[known]
        of_source = []
        for name in STATISTICS:
            auc, low, high = roc_auc_interval(positive, values[name].to_numpy()[known], groups)
            of_source.append(
                {"source": source, "statistic": name, "auc": auc, "low": low, "high": high}
            )
        rows += sorted(of_source, key=lambda row: -abs(np.nan_to_num(row["auc"], nan=0.5) - 0.5))
    return pd.DataFrame(rows, columns=list(STATISTIC_COLUMNS))


def roc_auc_interval(
    positive: np.ndarray, scores: np.ndarray, groups: np.ndarray, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return a ROC-AUC and its interval from grouped images.

    The variance is DeLong's with sums over groups in place of single images (Obuchowski, Biometrics
    53, 1997, 567); the interval is symmetric in the logit, so that it stays within 0 and 1.

    Args:
        positive: bool [n].
        scores: float [n], larger for positive.
        groups: [n], images of one value belong together.
        confidence: level, such as 0.95.

    Returns:
        AUC (0 to 1, 0.5 for no relation; ties count half), low, high. All NaN with one class only;
        the interval NaN with fewer than two groups in a class, or an AUC of exactly 0 or 1.
    """
    positive = np.asarray(positive, bool)
    lumps, others = int(positive.sum()), int((~positive).sum())
    if not lumps or not others:
        return math.nan, math.nan, math.nan
    # The share of the other class that each image lies above: its structural component.
    rank = rankdata(scores)
    above = np.empty(len(rank))
    above[positive] = (rank[positive] - rankdata(scores[positive])) / others
    above[~positive] = 1 - (rank[~positive] - rankdata(scores[~positive])) / lumps
    auc = float(above[positive].mean())
    _, member = np.unique(groups, return_inverse=True)
    member_groups = [len(set(member[chosen])) for chosen in (positive, ~positive)]
    if min(member_groups) < 2 or auc in (0.0, 1.0):
        return auc, math.nan, math.nan
    excess = above - auc
    sum_lump = np.bincount(member, weights=excess * positive)
    sum_other = np.bincount(member, weights=excess * ~positive)
    both, (in_lump, in_other) = len(sum_lump), member_groups
    variance = (
        in_lump / (in_lump - 1) * (sum_lump**2).sum() / lumps**2
        + in_other / (in_other - 1) * (sum_other**2).sum() / others**2
        + 2 * both / (both - 1) * (sum_lump * sum_other).sum() / (lumps * others)
    )
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(max(variance, 0.0))
    half /= auc * (1 - auc)
    logit = math.log(auc / (1 - auc))
    return auc, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))


def _compare(rows: pd.DataFrame, marked: np.ndarray) -> dict:
    label = rows["label"].map(label_id).to_numpy()
    counts, shares, sizes = [], [], []
    for value in (LUMP, NO_LUMP):
        chosen = label == value
        hits = marked[chosen]
        counts += [int(hits.sum()), len(hits)]
        shares.append(hits.mean() if len(hits) else math.nan)
        sizes.append(effective_size(hits, rows["group_id"].to_numpy()[chosen]))
    low = high = math.nan
    if all(sizes):
        low, high = newcombe_interval(
            shares[0] * sizes[0], sizes[0], shares[1] * sizes[1], sizes[1]
        )
    return {
        **dict(zip(FLAG_COLUMNS[2:6], counts, strict=True)),
        "difference": shares[0] - shares[1],
        "low": low,
        "high": high,
    }
