"""A contact sheet: images and their augmented variants, plain and in PARULA, in one figure."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from breastus.augmentation.base import Augmenter, image_seed
from breastus.preprocessing.color import parula

_TILE = 1.6  # inches a tile
_EPOCHS = 5


def contact_sheet(
    images: Sequence[np.ndarray], names: Sequence[str], *, augmenter: Augmenter | None, seed: int
) -> Figure:
    """Draw each image plain and in PARULA, with augmented variants beside it.

    Args:
        images: uint8 [S, S, 3] each; an image takes two rows, plain above and PARULA below.
        names: name of each image.
        augmenter: augmentation of the training; None draws the images without variants.
        seed: seed of the training, whose first epochs are shown.
    """
    columns = 1 + (_EPOCHS if augmenter is not None else 0)
    rows = 2 * len(images)
    figure = Figure(figsize=(_TILE * columns + 0.4, _TILE * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        tiles = [tf.constant(image, tf.float32)]
        for epoch in range(columns - 1):
            drawn = image_seed(seed, tf.constant(epoch), tf.constant(number))
            tiles.append(augmenter(tiles[0], drawn))
        for column, tile in enumerate(tiles):
            _draw(axes[2 * number, column], tile)
            _draw(axes[2 * number + 1, column], parula(tile))
        axes[2 * number, 0].set_ylabel(name, fontsize=7)
        axes[2 * number + 1, 0].set_ylabel("PARULA", fontsize=7)
    axes[0, 0].set_title("original", fontsize=8)
    for epoch in range(columns - 1):
        axes[0, epoch + 1].set_title(f"epoch {epoch + 1}", fontsize=8)
    return figure


def _draw(axis, image: tf.Tensor) -> None:
    axis.imshow(np.round(image).astype(np.uint8))
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
