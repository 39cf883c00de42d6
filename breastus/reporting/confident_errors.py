"""The most confident errors of a model: predictions and manifest in, pictures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.labels import LABELS, LUMP
from breastus.reporting.lesion_pictures import lesion_pictures

_SHOWN = 8


def most_confident_errors(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    lesion_maps: Mapping[str, np.ndarray] | None = None,
) -> list[Any]:
    """Return the most confident wrong prediction of each patient or scene, at most eight.

    Args:
        predictions: predictions table.
        manifest: manifest of its images.
        lesion_maps: lesion maps by image id, see `Run.read_lesion_maps`.

    Returns:
        Rows of the table as named tuples, with `similar` (number of further wrong images of the
        same patient or scene), `picture` (JPEG; empty when the image file could not be read),
        `outlined` (whether the outline of the lesion mask is drawn on it) and `lesion_map` (JPEG
        of the image with its map; empty without one).
    """
    wrong = predictions[predictions["predicted"] != predictions["label"]].copy()
    wrong["distance"] = (wrong["probability"] - (wrong["label"] == LABELS[LUMP])).abs()
    wrong = wrong.sort_values("distance", ascending=False, kind="stable")
    similar = wrong.groupby("group_id")["image_id"].transform("size") - 1
    shown = wrong.assign(similar=similar).drop_duplicates("group_id").head(_SHOWN)
    drawn = lesion_pictures(shown["image_id"], manifest, lesion_maps or {})
    return list(shown.join(drawn).itertuples())


def errors_of_all(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the images that every table of predictions gets wrong, with their mean probability."""
    wrong = [table["predicted"] != table["label"] for table in tables]
    mean = sum(table["probability"] for table in tables) / len(tables)
    return tables[0].assign(probability=mean)[pd.concat(wrong, axis=1).all(axis=1)]
