"""The predictions table: one row per image, as CSV, checked when it is read and written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from breastus.errors import DataError
from breastus.labels import FINDINGS, KNOWN_FINDINGS, LABELS, LUMP, label_of_finding
from breastus.utils.files import write_csv

if TYPE_CHECKING:  # a prediction needs this module, but not pandas
    import pandas as pd

COLUMNS = ("image_id", "split", "group_id", "finding", "label", "predicted", "probability")
# The share of malignant in the probability of lump, of a network that learned findings.
MALIGNANT_SHARE = "malignant_share"
# The others are the probability of lump before calibration, and the threshold of `predicted`.
OPTIONAL_COLUMNS = ("probability_uncalibrated", "threshold", MALIGNANT_SHARE)
# An empty finding means that the data set does not state it.
_LABELS_OF_FINDINGS = {"": "", **{finding: label_of_finding(finding) for finding in FINDINGS}}


def read_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Read a predictions CSV.

    Returns:
        Table with the columns of `COLUMNS`, and of `OPTIONAL_COLUMNS` where the file has them;
        `probability` is the calibrated probability of lump, 0 to 1.

    Raises:
        DataError: when the file cannot be read or has no row, a column is missing, an image is
            repeated or has no name or group, or a label, finding or probability is invalid.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"The predictions {path} cannot be read: {error}") from error
    if table.empty:
        raise DataError(
            f"The predictions {path} must have at least one row. Received: a header only. Run the "
            "command that wrote them again."
        )
    return check_predictions(table, str(path))


def write_predictions(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a predictions CSV atomically."""
    write_csv(path, check_predictions(table, "the predictions"))


def lump_probability(probabilities: np.ndarray) -> np.ndarray:
    """Return the probability of lump, float64 [n], from softmax probabilities [n, 2 or 3].

    A network of findings returns three, of which benign and malignant are summed. In float32
    1 - 1e-9 is 1, which would change the odds that calibration starts from.
    """
    exact = np.asarray(probabilities, float)
    return exact[:, LUMP:].sum(axis=1) / exact.sum(axis=1)


def prediction_columns(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a predictions table that a network's softmax probabilities fill.

    Args:
        probabilities: [n, 2], or [n, 3] of a network of findings.

    Returns:
        `probability_uncalibrated`, float64 [n], and of a network of findings `malignant_share`,
        0 to 1, which no calibration changes (0.5 where the probability of lump is 0).
    """
    columns = {"probability_uncalibrated": lump_probability(probabilities)}
    exact = np.asarray(probabilities, float)
    if exact.shape[1] == len(KNOWN_FINDINGS):
        lump = exact[:, LUMP:].sum(axis=1)
        share = np.divide(exact[:, -1], lump, out=np.full(len(lump), 0.5), where=lump > 0)
        columns[MALIGNANT_SHARE] = share
    return columns


def finding_probabilities(table: pd.DataFrame, *, column: str = "probability") -> np.ndarray | None:
    """Return the probabilities of normal, benign and malignant, float64 [n, 3].

    Benign and malignant sum to the probability of lump in `column`. Predictions of a
    network that learned labels give None.
    """
    if MALIGNANT_SHARE not in table:
        return None
    lump, share = table[column].to_numpy(float), table[MALIGNANT_SHARE].to_numpy(float)
    return np.stack([1 - lump, lump * (1 - share), lump * share], axis=1)


def finding_confusion(table: pd.DataFrame, threshold: float | np.ndarray) -> np.ndarray | None:
    """Return the confusion matrix of normal, benign and malignant, int [3, 3], rows actual.

    The predicted finding is normal if the probability of lump is below the threshold, and else the
    likelier of benign and malignant, so that it never contradicts the predicted label. Images of
    unknown finding do not count.

    Args:
        table: predictions; those of a network that learned labels give None.
        threshold: one, or one an image.
    """
    if MALIGNANT_SHARE not in table:
        return None
    kind = np.where(table[MALIGNANT_SHARE].to_numpy(float) > 0.5, 2, 1)
    predicted = np.where(table["probability"].to_numpy(float) >= threshold, kind, 0)
    matrix = np.zeros((3, 3), int)
    for row, finding in enumerate(KNOWN_FINDINGS):
        matrix[row] = np.bincount(predicted[table["finding"] == finding], minlength=3)
    return matrix


def truth_and_probability(
    table: pd.DataFrame, *, column: str = "probability"
) -> tuple[np.ndarray, np.ndarray]:
    """Return `y_true` (int [n], 1 for lump) and `y_prob` (float [n]) of a predictions table.

    Raises:
        DataError: when the table lacks the column, or a label is invalid.
    """
    if column not in table:
        raise DataError(
            f"The predictions lack the column {column}: an earlier version wrote them. Train again."
        )
    if not (known := table["label"].isin(LABELS)).all():
        wrong = table.loc[~known, "label"].iloc[0]
        # Any other text would count as no lump, even a finding such as malignant.
        meant = _LABELS_OF_FINDINGS.get(wrong)
        hint = f"{wrong} is a finding; its label is {meant}. " if meant else ""
        raise DataError(
            f"The label of a prediction must be one of {', '.join(LABELS)}. {hint}"
            f"Received: label={wrong!r}"
        )
    return (table["label"] == LABELS[LUMP]).to_numpy(int), table[column].to_numpy(float)


def thresholds_of(table: pd.DataFrame, name: str = "The predictions") -> np.ndarray:
    """Return the threshold of each prediction, float [n]; `name` names the table in errors.

    Raises:
        DataError: when the table lacks thresholds. None is assumed, because a model's own threshold
            is seldom 0.5.
    """
    if "threshold" not in table or table["threshold"].isna().any():
        raise DataError(
            f"{name} must have a threshold in each row, from which an image is predicted lump. Add "
            f"a column threshold. Received: {', '.join(map(str, table.columns))}"
        )
    return table["threshold"].to_numpy(float)


def check_predictions(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the known columns with numbers as floats; `name` names the table in errors."""
    import pandas as pd

    if missing := [column for column in COLUMNS if column not in table]:
        raise DataError(f"{name} lacks the column {', '.join(missing)}.")
    table = table[[*COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in table)]].copy()

    def refuse(wrong: pd.Series, column: str, rule: str) -> None:
        """Raise DataError at the first wrong row, if any."""
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            row = table.iloc[place]
            raise DataError(
                f"{name}, row {place + 2}: {column} {rule}. Received: {column}={row[column]!r}, "
                f"image_id={row['image_id']!r}, label={row['label']!r}"
            )

    for column, way_out in (
        ("image_id", "Each row needs the name of its image"),
        # Images without a group would pass for images of one patient.
        ("group_id", "Name its patient or scene; where none is known, give it a group of its own"),
    ):
        missing = table[column].isna() | (table[column].astype(str).str.strip() == "")
        refuse(missing, column, f"must not be empty. {way_out}")
    refuse(table["image_id"].duplicated(), "image_id", "must be unique")
    for column in ("label", "predicted"):
        refuse(~table[column].isin(LABELS), column, f"must be one of {', '.join(LABELS)}")
    label = table["finding"].astype(object).fillna("").map(_LABELS_OF_FINDINGS)
    refuse(label.isna(), "finding", f"must be one of {', '.join(FINDINGS)}, or empty")
    for meant, other in (LABELS, LABELS[::-1]):
        rule = f"means the label {meant}, not {other}; correct one of them"
        refuse((label == meant) & (table["label"] == other), "finding", rule)
    for column in ("probability", *OPTIONAL_COLUMNS):
        if column in table:
            number = pd.to_numeric(table[column], errors="coerce")
            refuse(~number.between(0, 1), column, "must be from 0 to 1")  # false for NaN as well
            table[column] = number
    return table
