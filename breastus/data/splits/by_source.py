"""Leave one source out: it is the whole test part, train and val are drawn from the others."""

import difflib
import warnings

import pandas as pd

from breastus.data.splits.common import check_classes, split_table, what_is_there
from breastus.data.splits.group_folds import draw_folds
from breastus.errors import DataWarning, SplitError


def by_source(rows: pd.DataFrame, seed: int, *, source: str) -> pd.DataFrame:
    """Test on all images of a source. Of the others a fifth is val.

    Args:
        rows: included rows of a manifest.
        seed: decides what is val.
        source: a value of the column `source`.

    Raises:
        SplitError: when there is no such source, or the others lack a class.

    Warns:
        DataWarning: when images of the others are left out, since their group reaches across; and
            when the source holds one class only.
    """
    sources = sorted(rows["source"].unique())
    if source not in sources:
        near = difflib.get_close_matches(source, sources, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SplitError(
            f"data.split=source:NAME must name a source of images that are used: "
            f"{', '.join(sources) or 'none'}.{hint} Received: {source}"
        )
    if len(sources) == 1:
        raise SplitError(
            f"{source} is the only source: nothing is left to train on. Name a second data set "
            "(--data A --data B), or use data.split=group."
        )
    tested = rows["source"] == source
    leaks = ~tested & rows["group_id"].isin(rows.loc[tested, "group_id"])
    if leaks.any():
        warnings.warn(
            f"{leaks.sum()} images are left out of train and val, since a near-duplicate or "
            f"another image of the same patient is in {source}, which is the test part.",
            DataWarning,
            stacklevel=3,
        )
    others = rows[~tested & ~leaks]
    check_classes(others, f" outside {source}")
    if rows.loc[tested, "label"].nunique() == 1:
        warnings.warn(
            f"The test part, {source}, holds one class only, so that ROC-AUC and balanced accuracy "
            f"are undefined. {what_is_there(rows[tested])}",
            DataWarning,
            stacklevel=3,
        )
    split = pd.Series("test", index=rows.index)
    split[others.index] = "train"
    split[others.index[draw_folds(others, seed) == 0]] = "val"
    return split_table(rows[~leaks], split[~leaks])
