"""Cache of slow results, as JSON with a record of their predictions.

    write_cached_result(path, result, predictions=table)
    result = read_cached_result(path, predictions=table)  # None when the predictions changed

Evaluating a run again neither loses a result, which may have taken hours, nor shows one of other
predictions.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.errors import StaleResultWarning
from breastus.utils.files import read_json, write_json

# Probabilities of one network on one image differ by about 1e-6 between machines.
_TOLERANCE = 1e-4


def write_cached_result(
    path: str | os.PathLike, result: dict[str, Any], *, predictions: pd.DataFrame
) -> None:
    """Write a result of JSON values and NaN, with a record of its predictions and `threshold`."""
    write_json(path, {**result, "predictions": _record(predictions)})


def read_cached_result(
    path: str | os.PathLike, *, predictions: pd.DataFrame
) -> dict[str, Any] | None:
    """Return a cached result, or None.

    A result of other predictions is not returned, and stays where it is: images, labels, groups and
    threshold must be the same, and probabilities within 1e-4.

    Raises:
        RunError: when the file cannot be read.

    Warns:
        StaleResultWarning: when there is a result of other predictions.
    """
    path = Path(path)
    if not path.exists():
        return None
    result = read_json(path)
    if _same(result.pop("predictions", None), predictions):
        return result
    warnings.warn(
        f"{path} was measured on other predictions, so that the report does not show it. The file "
        "stays. Measure again to replace it.",
        StaleResultWarning,
        stacklevel=2,
    )
    return None


def _record(table: pd.DataFrame) -> dict[str, Any]:
    rows = table.sort_values("image_id")
    return {
        "threshold": float(rows["threshold"].iloc[0]),
        "images": {
            row.image_id: [row.label, row.group_id, round(row.probability, 6)]
            for row in rows.itertuples()
        },
    }


def _same(record: dict[str, Any] | None, table: pd.DataFrame) -> bool:
    now = _record(table)
    if not record or set(record["images"]) != set(now["images"]):
        return False
    if abs(record["threshold"] - now["threshold"]) > _TOLERANCE:
        return False
    return all(
        was[:-1] == now["images"][name][:-1]
        and abs(was[-1] - now["images"][name][-1]) <= _TOLERANCE
        for name, was in record["images"].items()
    )
