"""Shortcuts: how well marks, size or brightness alone predict the class, with 95 % intervals.

All intervals count groups (patients or scenes) and not images, which may repeat each other.
"""

import math
import warnings

import numpy as np
import pandas as pd

from breastus.data.image_statistics import STATISTICS
from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.delong import delong_interval
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
    """Compare how often images of lump and of no_lump have each flag.

    Args:
        used: manifest rows that have a label.

    Returns:
        A table with the columns of `FLAG_COLUMNS`, the largest difference of each source first. A
        share of no images is NaN, and so is its difference.
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
    """Return how well each statistic of the pixels alone separates lump from no_lump.

    Args:
        used: manifest rows that have a label.
        measured: index `image_id`, a column for each of `STATISTICS`; NaN if unreadable.

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
            with warnings.catch_warnings():
                # The table shows NaN for one class or few groups.
                warnings.simplefilter("ignore", UndefinedMetricWarning)
                area = delong_interval(positive, values[name].to_numpy()[known], groups)
            row = {"auc": area["value"], "low": area["ci_low"], "high": area["ci_high"]}
            of_source.append({"source": source, "statistic": name, **row})
        rows += sorted(of_source, key=lambda row: -abs(np.nan_to_num(row["auc"], nan=0.5) - 0.5))
    return pd.DataFrame(rows, columns=list(STATISTIC_COLUMNS))


def _compare(rows: pd.DataFrame, marked: np.ndarray) -> dict:
    label = rows["label"].map(label_id).to_numpy()
    counts, shares, sizes = [], [], []
    for value in (LUMP, NO_LUMP):
        chosen = label == value
        hits = marked[chosen]
        counts += [int(hits.sum()), len(hits)]
        shares.append(hits.mean() if len(hits) else math.nan)
        sizes.append(effective_size(hits, rows["group_id"].to_numpy()[chosen]))
    low, high = newcombe_interval(shares[0] * sizes[0], sizes[0], shares[1] * sizes[1], sizes[1])
    return {
        **dict(zip(FLAG_COLUMNS[2:6], counts, strict=True)),
        "difference": shares[0] - shares[1],
        "low": low,
        "high": high,
    }
