"""The most confident errors of a model: predictions and manifest in, pictures out."""

import warnings
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class ConfidentError:
    """An image that the model got wrong.

    Attributes:
        image_id: name of the image.
        picture: JPEG; empty when the image file could not be read.
        outlined: true if the outline of the lesion mask is drawn on the picture.
        finding: finding of the image, or "".
        label: actual label.
        predicted: predicted label.
        probability: predicted probability of lump, 0 to 1.
        similar: number of further wrong images of the same patient or scene.
    """

    image_id: str
    picture: bytes
    outlined: bool
    finding: str
    label: str
    predicted: str
    probability: float
    similar: int


def most_confident_errors(
    predictions: pd.DataFrame, manifest: pd.DataFrame
) -> list[ConfidentError]:
    """Return the most confident wrong prediction of each patient or scene, at most eight.

    Args:
        predictions: table of predictions.
        manifest: rows with `path` and `mask_paths` of each of its images.
    """
    wrong = predictions[predictions["predicted"] != predictions["label"]].copy()
    wrong["distance"] = (wrong["probability"] - (wrong["label"] == LABELS[LUMP])).abs()
    wrong = wrong.sort_values("distance", ascending=False, kind="stable")
    similar = wrong.groupby("group_id")["image_id"].transform("size") - 1
    shown = wrong.assign(similar=similar).drop_duplicates("group_id").head(_SHOWN)
    files = manifest.set_index("image_id")
    errors = []
    for row in shown.itertuples():
        file = files.loc[row.image_id]
        picture, outlined = _picture(file["path"], file["mask_paths"])
        errors.append(
            ConfidentError(
                image_id=row.image_id,
                picture=picture,
                outlined=outlined,
                finding=row.finding,
                label=row.label,
                predicted=row.predicted,
                probability=row.probability,
                similar=int(row.similar),
            )
        )
    return errors


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
