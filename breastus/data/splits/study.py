"""The sizes of the published study's split, drawn without separating groups: the scheme `study`."""

import numpy as np
import pandas as pd

from breastus.data.splits.scheme import (
    SplitOptions,
    check_classes,
    describe_counts,
    register_split_scheme,
    split_table,
)
from breastus.errors import SplitError
from breastus.labels import SPLITS

# Images of each label in train, val and test: Table I of the published student study on BUSI.
STUDY_SIZES = {"lump": (194, 66, 66), "no_lump": (80, 27, 26)}


@register_split_scheme("study")
def split_as_study(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Draw the sizes of Table I for each label, whole groups at a time."""
    check_classes(rows)
    rng = np.random.default_rng(options.seed)
    split = pd.Series("", index=rows.index)
    for label, sizes in STUDY_SIZES.items():
        if (rows["label"] == label).sum() < sum(sizes):
            raise SplitError(
                f"data.split=study needs {sum(sizes)} images of {label}. {describe_counts(rows)} "
                "On BUSI include all images, as the study did: --set data.known_faults=false "
                "--set data.contradictions=keep"
            )
    # Large groups first; at the end single images fill the remaining places exactly.
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
        # In proportion to the remaining room, so that large groups do not all join one split.
        weights = np.array([sum(room[label, s] for label in need) for s in fits], float)
        chosen = rng.choice(fits, p=weights / weights.sum())
        for label, count in need.items():
            room[label, chosen] -= count
        split.iloc[members] = chosen
    if any(room.values()):
        raise SplitError(
            "data.split=study cannot reach its sizes without separating groups. "
            f"{describe_counts(rows)} Use data.split=group."
        )
    drawn = rows[split != ""]
    return split_table(drawn, split[split != ""])
