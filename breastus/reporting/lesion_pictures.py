"""Pictures of images with the outline of the lesion mask and with the lesion map, for a page."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from breastus.data.images import read_image
from breastus.data.masks import lesion_mask
from breastus.errors import BreastusError
from breastus.reporting.heat_map import heat_map
from breastus.reporting.pictures import shrink, to_jpeg
from breastus.utils.opencv import cv2

_SIDE = 480  # longer side of a picture, in pixels; a picture has about 25 kB
_OUTLINE = (0, 229, 255)  # RGB; cyan is seen on grey tissue, also by colour-blind readers


def lesion_pictures(
    image_ids: pd.Series, manifest: pd.DataFrame, lesion_maps: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return the pictures of images, with the index of `image_ids`.

    Args:
        image_ids: ids of rows of the manifest.
        manifest: manifest of the images.
        lesion_maps: lesion maps by image id, see `Run.read_lesion_maps`.

    Returns:
        `picture` (JPEG; empty when the image file could not be read), `outlined` (whether the
        outline of the lesion mask is drawn on it), and `lesion_map` (JPEG of the same with the
        map; empty without one).
    """
    files = manifest.set_index("image_id").loc[image_ids]
    pictures = [
        _pictures(row.path, row.mask_paths, lesion_maps.get(row.Index))
        for row in files.itertuples()
    ]
    return pd.DataFrame(pictures, image_ids.index, ["picture", "outlined", "lesion_map"])


def _pictures(
    path: str, mask_paths: str, lesion_map: np.ndarray | None
) -> tuple[bytes, bool, bytes]:
    try:
        pixels = read_image(path)
    except BreastusError:  # moved or damaged since the training
        return b"", False, b""
    drawn = shrink(pixels, _SIDE)
    outlined = _outline(drawn, [name for name in mask_paths.split(";") if name], pixels.shape[:2])
    mapped = b""
    if lesion_map is not None:
        mapped = to_jpeg(heat_map(drawn, lesion_map / np.float32(255), side=_SIDE))
    return to_jpeg(drawn), outlined, mapped


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
