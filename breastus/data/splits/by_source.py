"""Leave one source out: the scheme `source:NAME` tests on one source and trains on the others."""

import warnings

import pandas as pd

from breastus.data.splits.group_folds import draw_folds
from breastus.data.splits.scheme import check_classes, describe_counts, split_table
from breastus.errors import DataWarning, SplitError, did_you_mean


def split_by_source(rows: pd.DataFrame, seed: int, *, source: str) -> pd.DataFrame:
    """Test on all images of a source; a fifth of the other images, drawn by the seed, is val.

    It warns if images of other sources are not used because their group is also in the test part,
    or if the source holds only one class.
    """
    sources = sorted(rows["source"].unique())
    if source not in sources:
        raise SplitError(
            f"data.split=source:NAME must name a source with included images: "
            f"{', '.join(sources) or 'none'}.{did_you_mean(source, sources)} Received: {source}"
        )
    if len(sources) == 1:
        raise SplitError(
            f"{source} is the only source, so no images remain for training. Name a second data "
            "set (--data A --data B), or use data.split=group."
        )
    tested = rows["source"] == source
    leaks = ~tested & rows["group_id"].isin(rows.loc[tested, "group_id"])
    if leaks.any():
        warnings.warn(
            f"{leaks.sum()} images are not used for train or val, because a near-duplicate or "
            f"another image of the same patient is in {source}, which is the test part.",
            DataWarning,
            stacklevel=3,
        )
    others = rows[~tested & ~leaks]
    check_classes(others, f" outside {source}")
    if rows.loc[tested, "label"].nunique() == 1:
        warnings.warn(
            f"The test part, {source}, holds only one class, so ROC-AUC and balanced accuracy are "
            f"undefined. {describe_counts(rows[tested])}",
            DataWarning,
            stacklevel=3,
        )
    split = pd.Series("test", index=rows.index)
    split[others.index] = "train"
    split[others.index[draw_folds(others, seed) == 0]] = "val"
    return split_table(rows[~leaks], split[~leaks])
