"""The sizes of the published study's split, drawn by seed without cutting groups apart."""

import numpy as np
import pandas as pd

from breastus.data.splits.common import split_table, what_is_there
from breastus.errors import SplitError
from breastus.labels import SPLITS

# Images of each label in train, val and test: Table I of the published student study on BUSI.
STUDY_SIZES = {"lump": (194, 66, 66), "no_lump": (80, 27, 26)}


def by_study(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw Table I's sizes of each label, whole groups at a time.

    Raises:
        SplitError: when there are too few images, or the sizes cannot be met with whole groups.
    """
    rng = np.random.default_rng(seed)
    split = pd.Series("", index=rows.index)
    for label, sizes in STUDY_SIZES.items():
        if (rows["label"] == label).sum() < sum(sizes):
            raise SplitError(
                f"The split 'study' takes {sum(sizes)} images of {label}. {what_is_there(rows)} "
                "On BUSI keep all images, as the study did: --set data.known_faults=false --set "
                "data.contradictions=keep"
            )
    # Groups of both labels first, then large ones: single images fill what is left exactly.
    groups = list(rows.groupby("group_id", sort=True).indices.values())
    rng.shuffle(groups)
    groups.sort(key=len, reverse=True)
    room = {
        (label, s): size
        for label, sizes in STUDY_SIZES.items()
        for s, size in zip(SPLITS, sizes, strict=True)
    }
    labels = rows["label"].to_numpy()
    for members in groups:
        need = {label: int((labels[members] == label).sum()) for label in set(labels[members])}
        fits = [s for s in SPLITS if all(room[label, s] >= count for label, count in need.items())]
        if not fits:
            continue
        # By the share of room that is left, so that large groups do not all go to one split.
        weights = np.array([sum(room[label, s] for label in need) for s in fits], float)
        chosen = rng.choice(fits, p=weights / weights.sum())
        for label, count in need.items():
            room[label, chosen] -= count
        split.iloc[members] = chosen
    if any(room.values()):
        raise SplitError(
            "The sizes of the split 'study' cannot be met without cutting groups apart. "
            f"{what_is_there(rows)} Use data.split=group."
        )
    drawn = rows[split != ""]
    return split_table(drawn, split[split != ""])
