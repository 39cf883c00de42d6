"""The most confident errors of a model: predictions and manifest in, pictures out."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from breastus.data.images import read_image
from breastus.data.masks import lesion_mask
from breastus.errors import BreastusError
from breastus.labels import LABELS, LUMP
from breastus.reporting.pictures import shrink, to_jpeg
from breastus.utils.opencv import cv2

_SHOWN = 8
_SIDE = 480  # longer side of a picture, in pixels; a picture has about 25 kB
_OUTLINE = (0, 229, 255)  # RGB; cyan is seen on grey tissue, also by colour-blind readers


def most_confident_errors(predictions: pd.DataFrame, manifest: pd.DataFrame) -> list[Any]:
    """Return the most confident wrong prediction of each patient or scene, at most eight.

    Returns:
        Rows of the table as named tuples, with `similar` (number of further wrong images of the
        same patient or scene), `picture` (JPEG; empty when the image file could not be read) and
        `outlined` (whether the outline of the lesion mask is drawn on it).
    """
    wrong = predictions[predictions["predicted"] != predictions["label"]].copy()
    wrong["distance"] = (wrong["probability"] - (wrong["label"] == LABELS[LUMP])).abs()
    wrong = wrong.sort_values("distance", ascending=False, kind="stable")
    similar = wrong.groupby("group_id")["image_id"].transform("size") - 1
    shown = wrong.assign(similar=similar).drop_duplicates("group_id").head(_SHOWN)
    files = manifest.set_index("image_id").loc[shown["image_id"]]
    pictures = [_picture(*file) for file in zip(files["path"], files["mask_paths"], strict=True)]
    drawn = pd.DataFrame(pictures, shown.index, ["picture", "outlined"])
    return list(shown.join(drawn).itertuples())


def errors_of_all(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the images that every table of predictions gets wrong, with their mean probability."""
    wrong = [table["predicted"] != table["label"] for table in tables]
    mean = sum(table["probability"] for table in tables) / len(tables)
    return tables[0].assign(probability=mean)[pd.concat(wrong, axis=1).all(axis=1)]


def _picture(path: str, mask_paths: str) -> tuple[bytes, bool]:
    """Return the JPEG of an image, and whether its lesion is outlined."""
    try:
        pixels = read_image(path)
    except BreastusError:  # moved or damaged since the training
        return b"", False
    drawn = shrink(pixels, _SIDE)
    outlined = _outline(drawn, [name for name in mask_paths.split(";") if name], pixels.shape[:2])
    return to_jpeg(drawn), outlined


def _outline(drawn: np.ndarray, mask_paths: list[str], size: tuple[int, int]) -> bool:
    """Draw the outline of the masks on a shrunk image, in place; return whether there is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the audit reports masks that do not fit
            mask = lesion_mask(mask_paths, size)
    except BreastusError:
        return False
    small = cv2.resize(mask, drawn.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _OUTLINE, 2, cv2.LINE_AA)
    return bool(contours)
