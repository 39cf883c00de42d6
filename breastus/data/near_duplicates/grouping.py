"""Group images that must stay in one split, and exclude near-duplicates with different findings.

On BUSI 153 groups hold 346 images, as many as Pawlowska et al. (Data in Brief 48, 2023, 109247)
found by comparing all pairs by eye.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from breastus.data.near_duplicates.search import Pairs

# Ids of two images of the same scene in the manifest's order; their correlation (1: the same); and
# "near-duplicate" or "mirrored".
PAIR_COLUMNS = ("image_id", "duplicate_id", "similarity", "kind")


def pairs_table(image_ids: Sequence[str], pairs: Pairs) -> pd.DataFrame:
    """Return pairs of near-duplicates as a table with the columns of `PAIR_COLUMNS`."""
    names = np.asarray(image_ids)
    kind = np.where(pairs.mirrored, "mirrored", "near-duplicate")
    columns = names[pairs.first], names[pairs.second], pairs.similarity, kind
    return pd.DataFrame(dict(zip(PAIR_COLUMNS, columns, strict=True)))


def components(count: int, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return the number of the connected component of each of `count` nodes."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def group_images(
    manifest: pd.DataFrame,
    pairs: Pairs,
    *,
    patients: Sequence[str],
    earlier_groups: Sequence[str] = (),
    exclude_contradictions: bool,
) -> pd.DataFrame:
    """Return a manifest with `group_id`, near-duplicates of contradicting findings excluded.

    A group contains images of one patient, near-duplicates, equal files, images of one earlier
    group, and all images that these connect. Its name is the id of its first image.

    Args:
        manifest: rows with `image_id`, `sha256`, `finding`, `label` and `excluded`.
        pairs: near-duplicates among the rows.
        patients: patient of each row, unique across sources; "" if unknown.
        earlier_groups: group that each row had before, "" if none.
        exclude_contradictions: true to exclude contradicting images.
    """
    table = manifest.reset_index(drop=True).copy()
    duplicates = np.hstack([[pairs.first, pairs.second], _equal_pairs(table["sha256"])]).astype(int)
    related = [_equal_pairs(pd.Series(values)) for values in (patients, earlier_groups)]
    group = components(len(table), *np.hstack([duplicates, *related]))
    table["group_id"] = table["image_id"].groupby(group).transform("first")
    if exclude_contradictions:
        # Frames of one patient's sweep look alike and have different findings once the lump leaves
        # the view. So images contradict each other only if their patients differ or are unknown.
        patient = np.asarray(patients, object)[duplicates]
        same_patient = (patient[0] == patient[1]) & (patient[0] != "")
        scene = components(len(table), *duplicates[:, ~same_patient])
        several = np.bincount(scene)[scene] > 1
        for _, rows in table[several].groupby(scene[several]):
            _exclude_contradictions(table, rows)
    return table


def _exclude_contradictions(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    known = known_findings(rows)
    if not contradicting(known):
        return
    for index in rows.index[rows["excluded"] == ""]:
        other = next((o for o in rows.index if contradicting((known[index], known[o]))), None)
        if other is None:
            continue  # it agrees with each of the others
        table.at[index, "excluded"] = (
            f"contradiction: near-duplicate of {table.at[other, 'image_id']}, "
            f"which is {known[other]} and not {known[index]}"
        )


def known_findings(rows: pd.DataFrame) -> pd.Series:
    """Return each row's finding, or its label if the finding is unknown, or ""."""
    return rows["finding"].where(rows["finding"] != "unknown", rows["label"])


def contradicting(findings: Iterable[str]) -> tuple[str, ...]:
    """Return the findings of one scene if they cannot all be true, else nothing.

    "lump" agrees with benign and with malignant, which contradict each other; "no_lump" agrees
    with normal, "" with all.
    """
    known = set(findings) - {""}
    if known & {"benign", "malignant"}:
        known -= {"lump"}
    if "normal" in known:
        known -= {"no_lump"}
    return tuple(sorted(known)) if len(known) > 1 else ()


def _equal_pairs(values: pd.Series) -> np.ndarray:
    """Return pairs of positions, int [2, k], that connect equal values; "" connects nothing."""
    pairs = [
        (rows[0], row)
        for value, rows in values.groupby(values).indices.items()
        if value
        for row in rows[1:]
    ]
    return np.array(pairs, int).reshape(-1, 2).T
