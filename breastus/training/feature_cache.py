"""What a backbone that stays as it came makes of images, computed once: images in, features out.

    backbone, head = split_backbone_head(model)                    # of the same layers
    kept = FeatureCache(backbone, views, images=450, folder=run)
    head.fit(kept.training(order, ...))

A step then costs what the head costs, some hundredths of the whole. Each image has as many
augmented views as there were passes over the images; in epoch e, view e modulo their number comes.
Fewer different ones are seen than if each epoch drew its own.

Features lie in float16 in a file of the run folder that has no name, so that it goes when the
process does. They are computed anew when a run is taken up: the same, as views have seeds.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from breastus.data.pipeline.batches import epoch_batches
from breastus.errors import RunError, TrainingError


class FeatureCache:
    """Features and targets of several views of a table's images.

    Args:
        backbone: model input [B, S, S, 3] to features [B, ...].
        passes: for each view, the batches (model input, targets) of all images in their order.
        images: how many there are.
        folder: where the file of features is made.

    Raises:
        RunError: when the disk does not hold them.
        TrainingError: when a feature is not finite, or too large for float16.
    """

    def __init__(
        self,
        backbone: keras.Model,
        passes: Sequence[tf.data.Dataset],
        *,
        images: int,
        folder: Path,
    ):
        self._shape, self._dtype = backbone.output.shape[1:], backbone.output.dtype
        self._views, self._images = len(passes), images
        self._features = _array_on_disk((self._views, images, *self._shape), folder)
        compute = tf.function(
            lambda inputs: tf.cast(backbone(inputs, training=False), tf.float16),
            reduce_retracing=True,
        )
        targets = []
        bar = tqdm(total=self._views * images, desc="features", leave=False, disable=None)
        for view, batches in enumerate(passes):
            row = 0
            for inputs, target in batches:
                found = compute(inputs).numpy()
                if not np.isfinite(found).all():
                    raise TrainingError(
                        f"The backbone's features are not finite in float16 (image {row} or one "
                        "soon after it). Use training.cached_views=0."
                    )
                self._features[view, row : row + len(found)] = found
                row += len(found)
                targets.append(target)
                bar.update(len(found))
        bar.close()
        # [views * images, ...], as the passes came.
        self._targets = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *targets)

    def training(
        self, order: Callable, *, part: Sequence[int] | None = None, **batching: int
    ) -> tf.data.Dataset:
        """Return the batches of epochs `first_epoch` to `epochs - 1`, as `training_dataset` does.

        Args:
            order: (epoch) to the epoch's draws, int32 [n]; `draw % images` is the image.
            part: the images that are drawn from, by their number; None for all.
            **batching: from `batch_size` on, the arguments of `epoch_batches`.
        """
        images = self._numbers(part)

        def row(epoch: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
            # An image that is drawn twice in an epoch comes in two views.
            view = (epoch + draw // len(images)) % self._views
            return view * self._images + tf.gather(images, draw % len(images))

        return epoch_batches(order, row, self._batch, **batching)

    def once(self, *, part: Sequence[int] | None = None, batch_size: int) -> tf.data.Dataset:
        """Return the images of the first view once, in their order.

        Args:
            part: which of them, by their number; None for all.
            batch_size: images a batch.
        """
        rows = tf.data.Dataset.from_tensor_slices(self._numbers(part))
        return rows.batch(batch_size).map(self._batch).prefetch(2)

    def _numbers(self, part: Sequence[int] | None) -> np.ndarray:
        return np.arange(self._images, dtype=np.int32) if part is None else np.int32(part)

    def _batch(self, rows: tf.Tensor) -> tuple:
        features = tf.numpy_function(self._take, [rows], tf.float16, stateful=False)
        features.set_shape([None, *self._shape])
        targets = tf.nest.map_structure(lambda all_: tf.gather(all_, rows), self._targets)
        return tf.cast(features, self._dtype), targets

    def _take(self, rows: np.ndarray) -> np.ndarray:
        return self._features.reshape(-1, *self._shape)[rows]


def _array_on_disk(shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """Return a float16 array in a file that goes with the process."""
    size = 2 * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Or a full disk would end the process when a page is written, without a word.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.float16, "r+", shape=shape)
    except OSError as error:
        raise RunError(
            f"{folder} cannot hold the features that are kept, {size / 2**30:.1f} GiB: {error}. "
            "Use fewer views (training.cached_views), or another place (--out)."
        ) from error
