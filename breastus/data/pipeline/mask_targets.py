"""Lesion masks as targets: a table of images in, for each batch how much of each cell is lesion.

A mask goes the way of its image: trimmed by the image's borders, resized, moved by the
augmentation. Then it is averaged over the cells of the grid on which the network says where it sees
something. An image without a lump has an empty mask; a lump without a mask says nothing of its
cells, and they count for nothing.
"""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from breastus.data.images import read_image
from breastus.data.masks import lesion_mask
from breastus.data.pipeline.batches import Pixels
from breastus.labels import LABELS, LUMP

_SEPARATOR = "\n"  # of an image's path and those of its masks; no path of a manifest holds one


class MaskTargets:
    """The masks of a table's images, on a grid.

    Args:
        table: manifest rows with `path`, `mask_paths` and `label`.
        geometry: (mask [H, W, 1], its image [H, W, 3]) to uint8 [S, S, 1], as the image is changed.
        size: S in pixels.
        grid: height and width of the grid in cells; S is a multiple of both.
        move: (uint8 [B, S, S, 1], seeds int32 [B, 2]) to masks that lie as their augmented images
            do; None where nothing is moved.
        cache_mb: as for `Pixels`.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        geometry: Callable,
        size: int,
        grid: tuple[int, int],
        move: Callable | None,
        cache_mb: int,
    ):
        def decode(encoded: tf.Tensor) -> tf.Tensor:
            both = tf.io.decode_png(encoded, channels=4)
            return geometry(both[..., 3:], both[..., :3])

        self._pixels = Pixels(
            (
                table["path"] + _SEPARATOR + table["mask_paths"].str.replace(";", _SEPARATOR)
            ).tolist(),
            decode=decode,
            size=size,
            cache_mb=cache_mb,
            channels=1,
            read=_image_and_mask,
        )
        known = (table["mask_paths"] != "") | (table["label"] != LABELS[LUMP])
        self._known = tf.constant(known.to_numpy(np.float32))
        self._cell = size // grid[0], size // grid[1]
        self._move = move

    def __call__(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mask of image `index`, uint8 [S, S, 1], and 1 if it is known, else 0."""
        return self._pixels(index), tf.gather(self._known, index)

    def evidence(self, masks: tf.Tensor, known: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Return the targets of a batch: float32 [B, h, w, 2], share of the cell and its weight."""
        if self._move is not None:
            masks = self._move(masks, seeds)
        return cell_targets(masks, known, self._cell)


def cell_targets(masks: tf.Tensor, known: tf.Tensor, cell: tuple[int, int]) -> tf.Tensor:
    """Return how much of each cell is lesion, and how much the cell counts.

    Args:
        masks: uint8 [B, S, S, 1], 255 within a lesion.
        known: float32 [B], 1 where the mask is known, else 0.
        cell: height and width of a cell in pixels.

    Returns:
        float32 [B, h, w, 2], the share and its weight.
    """
    share = tf.nn.avg_pool2d(tf.cast(masks, tf.float32) / 255.0, cell, cell, "VALID")
    weight = tf.broadcast_to(known[:, None, None, None], tf.shape(share))
    return tf.concat([share, weight], axis=-1)


def _image_and_mask(names: str) -> bytes:
    """Return an image with its mask as the alpha channel, as PNG."""
    path, *mask_paths = names.split(_SEPARATOR)
    pixels = read_image(path)
    mask = lesion_mask([name for name in mask_paths if name], pixels.shape[:2])
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([pixels, mask])).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
