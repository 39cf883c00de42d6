"""Lesion masks as targets: a table of images in, the lesion area fraction of each grid cell out.

A mask is trimmed by its image's borders, resized, moved with the augmented image, and averaged over
the cells of the grid on which the network predicts lesions. An image without a lump has an empty
mask. The cells of a lump without a mask are unknown and have weight 0.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf

from breastus.data.images import read_image
from breastus.data.masks import lesion_mask
from breastus.data.pipeline.image_cache import ImageCache
from breastus.labels import LABELS, LUMP

_SEPARATOR = "\n"  # between an image's path and its masks; no path of a manifest contains one


class MaskTargets:
    """The masks of a table's images on a grid.

    Args:
        table: manifest rows with `path`, `mask_paths` and `label`.
        crop_and_resize: function (mask [H, W, 1], its image [H, W, 3]) to uint8 [S, S, 1].
        size: S in pixels.
        grid: height and width of the grid in cells; S is a multiple of both.
        augment_masks: function (uint8 [B, S, S, 1], seeds int32 [B, 2]) to masks moved as their
            augmented images are, or None.
        cache_mb: memory limit in MiB, see `ImageCache`.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        crop_and_resize: Callable,
        size: int,
        grid: tuple[int, int],
        augment_masks: Callable | None,
        cache_mb: int,
    ):
        def crop_and_resize_last(image_and_mask: tf.Tensor) -> tf.Tensor:
            return crop_and_resize(image_and_mask[..., 3:], image_and_mask[..., :3])

        paths = table["path"] + _SEPARATOR + table["mask_paths"].str.replace(";", _SEPARATOR)
        self._masks = ImageCache(
            paths.tolist(),
            crop_and_resize=crop_and_resize_last,
            size=size,
            cache_mb=cache_mb,
            read=_image_and_mask,
            read_channels=4,
            channels=1,
        )
        known = (table["mask_paths"] != "") | (table["label"] != LABELS[LUMP])
        self._known = tf.constant(known.to_numpy(np.float32))
        self._cell = size // grid[0], size // grid[1]
        self._augment_masks = augment_masks

    def __call__(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mask of image `index`, uint8 [S, S, 1], and 1 if it is known, else 0."""
        return self._masks(index), tf.gather(self._known, index)

    def targets(self, masks: tf.Tensor, known: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Return `lesion_area_targets` of a batch, augmented by `seeds`: float32 [B, h, w, 2]."""
        if self._augment_masks is not None:
            masks = self._augment_masks(masks, seeds)
        return lesion_area_targets(masks, known, self._cell)


def lesion_area_targets(masks: tf.Tensor, known: tf.Tensor, cell: tuple[int, int]) -> tf.Tensor:
    """Return the lesion area fraction of each cell, and its weight: float32 [B, h, w, 2], 0 to 1.

    Args:
        masks: uint8 [B, S, S, 1], 255 within a lesion.
        known: float32 [B], 1 if the mask is known, else 0.
        cell: height and width of a cell in pixels.
    """
    fraction = tf.nn.avg_pool2d(tf.cast(masks, tf.float32) / 255.0, cell, cell, "VALID")
    weight = tf.broadcast_to(known[:, None, None, None], tf.shape(fraction))
    return tf.concat([fraction, weight], axis=-1)


def _image_and_mask(names: str) -> np.ndarray:
    """Return uint8 [H, W, 4]: an image, and the union of its masks as the fourth channel."""
    path, *mask_paths = names.split(_SEPARATOR)
    pixels = read_image(path)
    mask = lesion_mask([name for name in mask_paths if name], pixels.shape[:2])
    return np.dstack([pixels, mask])
