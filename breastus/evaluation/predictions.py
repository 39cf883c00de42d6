"""The predictions table: one row an image, as CSV, checked when it is read and written."""

import os

import numpy as np
import pandas as pd

from breastus.errors import DataError
from breastus.evaluation.validation import first_missing
from breastus.labels import FINDINGS, LABELS, LUMP, label_of_finding
from breastus.utils.files import write_csv

COLUMNS = ("image_id", "split", "group_id", "finding", "label", "predicted", "probability")
# What earlier versions did not write: the network's own probability of lump, before calibration,
# and the threshold by which `predicted` was called.
OPTIONAL_COLUMNS = ("probability_uncalibrated", "threshold")
# An empty finding is one that the data set does not tell, as an unknown one is.
_LABELS_OF_FINDINGS = {"": "", **{finding: label_of_finding(finding) for finding in FINDINGS}}


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read a predictions CSV.

    Returns:
        A table with the columns of `COLUMNS`, and those of `OPTIONAL_COLUMNS` that the file has;
        `probability` is that of lump, calibrated, 0 to 1.

    Raises:
        DataError: when it cannot be read, is of no image, lacks a column, names an image twice or
            not at all, has no group for one, an unknown label, a finding that is unknown or of
            another label, or a probability that is none.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"The predictions {path} cannot be read: {error}") from error
    if table.empty:
        raise DataError(
            f"The predictions {path} must be of at least one image. Received: a header alone. Run "
            "the command that wrote them again."
        )
    return check_predictions(table, str(path))


def write_predictions(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a predictions CSV, whole or not at all."""
    write_csv(path, check_predictions(table, "the predictions"))


def lump_probability(probabilities: np.ndarray) -> np.ndarray:
    """Return the probability of lump from softmax probabilities [n, 2], as float64 [n].

    float32 cannot tell 1 - 1e-9 from 1, and calibration can: it starts from the odds.
    """
    exact = np.asarray(probabilities, float)
    return exact[:, LUMP] / exact.sum(axis=1)


def truth_and_probability(
    table: pd.DataFrame, *, column: str = "probability"
) -> tuple[np.ndarray, np.ndarray]:
    """Return `y_true` (1 for lump) and `y_prob` of a table, as the metrics take them.

    Args:
        table: predictions.
        column: "probability", or "probability_uncalibrated" for those before calibration.

    Raises:
        DataError: when an earlier version, which kept none, wrote the predictions, or a label is
            no label.
    """
    if column not in table:
        raise DataError(
            f"The predictions lack the column {column}: an earlier version wrote them. Train again."
        )
    if not (known := table["label"].isin(LABELS)).all():
        wrong = table.loc[~known, "label"].iloc[0]
        # What is not lump would pass for no lump, a malignant one included.
        meant = _LABELS_OF_FINDINGS.get(wrong)
        hint = f"{wrong} is a finding; its label is {meant}. " if meant else ""
        raise DataError(
            f"The label of a prediction must be one of {', '.join(LABELS)}. {hint}"
            f"Received: label={wrong!r}"
        )
    return (table["label"] == LABELS[LUMP]).to_numpy(int), table[column].to_numpy(float)


def check_predictions(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the known columns, numbers as such; `name` is what an error calls the table.

    Raises:
        DataError: as `read_predictions`.
    """
    if missing := [column for column in COLUMNS if column not in table]:
        raise DataError(f"{name} lacks the column {', '.join(missing)}.")
    table = table[[*COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in table)]].copy()
    _check_named(table, name)
    if (twice := table["image_id"].duplicated()).any():
        raise DataError(
            f"{name}: each image must stand once. Received: "
            f"{table.loc[twice, 'image_id'].iloc[0]} twice"
        )
    for column in ("label", "predicted"):
        if not (known := table[column].isin(LABELS)).all():
            row = table[~known].iloc[0]
            raise DataError(
                f"{name}: the {column} of {row['image_id']} must be one of {', '.join(LABELS)}. "
                f"Received: {row[column]!r}"
            )
    _check_findings(table, name)
    for column in ("probability", *OPTIONAL_COLUMNS):
        if column not in table:
            continue
        number = pd.to_numeric(table[column], errors="coerce")
        if not (fine := number.between(0, 1)).all():  # false for NaN as well
            row = table[~fine].iloc[0]
            raise DataError(
                f"{name}: the {column} of {row['image_id']} must be from 0 to 1. "
                f"Received: {row[column] or 'nothing'}"
            )
        table[column] = number
    return table


def _check_named(table: pd.DataFrame, name: str) -> None:
    ways_out = {
        "image_id": "Each row needs the name of its image.",
        # All without one would be taken for the images of one patient.
        "group_id": "Name its patient or scene; where none is known, give it a group of its own.",
    }
    for column, way_out in ways_out.items():
        if (place := first_missing(table[column])) is not None:
            row = table.iloc[place]
            raise DataError(
                f"{name}, row {place + 2}: {column} must not be empty. {way_out} "
                f"Received: {column}={row[column]!r}, image_id={row['image_id']!r}"
            )


def _check_findings(table: pd.DataFrame, name: str) -> None:
    """Raise a DataError at a finding that is unknown or of another label; it may be empty."""
    label = table["finding"].astype(object).fillna("").map(_LABELS_OF_FINDINGS)
    unknown = label.isna()
    wrong = unknown | ((label != "") & (label != table["label"]))
    if not wrong.any():
        return
    place = int(np.flatnonzero(wrong)[0])
    row = table.iloc[place]
    rule = (
        f"must be one of {', '.join(FINDINGS)}, or empty"
        if unknown.iloc[place]
        else f"means the label {label.iloc[place]}, not {row['label']}; correct one of them"
    )
    raise DataError(
        f"{name}, row {place + 2}: the finding of {row['image_id']} {rule}. "
        f"Received: finding={row['finding']!r}, label={row['label']!r}"
    )
