"""Small pictures of images for a page: files in, JPEG out."""

import io
from collections.abc import Iterable

import numpy as np
import pandas as pd
from PIL import Image

from breastus.data.images import read_image
from breastus.errors import ImageError
from breastus.utils.threads import in_threads

_QUALITY = 80
_SIDE = 240  # longer side in pixels; a picture has about 7 kB


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return an image as uint8 [H, W, 3] that fits into a square of `side` pixels."""
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((side, side))
    return np.array(image)


def to_jpeg(pixels: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 3] as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def thumbnails(manifest: pd.DataFrame, image_ids: Iterable[str]) -> dict[str, bytes]:
    """Return image id to JPEG, which is empty for a file that cannot be read; each is read once."""
    paths = manifest.set_index("image_id")["path"]
    wanted = list(dict.fromkeys(image_ids))

    def load(path: str) -> bytes:
        try:
            return to_jpeg(shrink(read_image(path), _SIDE))
        except ImageError:
            return b""

    made = in_threads(load, paths.loc[wanted], "drawing pictures")
    return dict(zip(wanted, made, strict=True))
