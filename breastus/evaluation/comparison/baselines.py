"""Predictions of baselines that ship with the package, for the named splits.

    baseline_predictions/busi-scenes-v1.csv      image,frozen_features,frozen_features_threshold
                                                 1f0c9a3b,0.9312,0.848

`image` is the start of the checksum of the pixels. No image can be made from it. The recipe
`experiments/recipes/benchmark.py` writes the file.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from breastus.data.splits.benchmark import BenchmarkSplit
from breastus.errors import DataError
from breastus.labels import LABELS, LUMP

FOLDER = Path(__file__).parent / "baseline_predictions"
DIGITS = 8  # of a checksum; they differ for all images of a split
# Column of a file to the name in tables.
BASELINES = {"frozen_features": "logistic regression on frozen EfficientNet-Lite0"}


def read_baselines(split: BenchmarkSplit) -> dict[str, pd.DataFrame]:
    """Return name to out-of-fold predictions of a named split, sorted by image id; none for others.

    Raises:
        DataError: if the file does not hold exactly the images of the split.
    """
    file = FOLDER / f"{split.name}.csv"
    if not (split.is_named and file.is_file()):
        return {}
    stored = pd.read_csv(file, dtype={"image": str})
    images = split.tested.assign(image=split.tested["pixel_sha256"].str[:DIGITS])
    table = images.merge(stored, on="image", how="outer", validate="one_to_one", indicator=True)
    if not (table["_merge"] == "both").all():
        raise DataError(
            f"{file} does not hold the images of {split.name}. Install breastus again, or write it "
            "again with experiments/recipes/benchmark.py."
        )
    found = {}
    for column, name in BASELINES.items():
        probability, threshold = table[column], table[f"{column}_threshold"]
        found[name] = (
            table[["image_id", "group_id", "finding", "label"]]
            .assign(
                split="test",
                probability=probability,
                threshold=threshold,
                predicted=np.where(probability >= threshold, LABELS[LUMP], LABELS[0]),
            )
            .sort_values("image_id", ignore_index=True)
        )
    return found
