"""Features of a frozen backbone, computed once: images in, features to train a head on out.

    backbone, head = split_backbone_head(model)                        # of the same layers
    cache = FeatureCache(backbone, views, images=450, folder=run)
    head.fit(cache.training(order, ...))

A step then costs what the head costs, some hundredths of the whole. Each image has a fixed number
of augmented views, and epoch e uses view e modulo that number. Features lie in a file without a
name in the run folder, which disappears with the process. A resumed run computes them again; they
are the same, because views have seeds.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from breastus.config.schema import Config
from breastus.data.pipeline.batches import epoch_batches
from breastus.errors import RunError, TrainingError
from breastus.utils.files import reserve


class FeatureCache:
    """Features and targets of several views of a table's images.

    Args:
        backbone: model input [B, S, S, 3] to features [B, ...].
        passes: batches (model input, targets) of all images in their order, for each view.
        images: number of images.
        folder: folder of the feature file.
        dtype: float16, or float32 where features must equal those of the network.
    """

    def __init__(
        self,
        backbone: keras.Model,
        passes: Sequence[tf.data.Dataset],
        *,
        images: int,
        folder: Path,
        dtype: type[np.floating] = np.float16,
    ):
        self._shape, self._dtype = backbone.output.shape[1:], backbone.output.dtype
        self._views, self._images = len(passes), images
        self._features = _array_on_disk((self._views, images, *self._shape), folder, dtype)
        compute = tf.function(
            lambda inputs: tf.cast(backbone(inputs, training=False), dtype),
            reduce_retracing=True,
        )
        targets = []
        bar = tqdm(total=self._views * images, desc="features", leave=False, disable=None)
        for view, batches in enumerate(passes):
            row = 0
            for inputs, target in batches:
                features = compute(inputs).numpy()
                if not np.isfinite(features).all():
                    raise TrainingError(
                        f"The backbone's features are not finite in {dtype.__name__}, at image "
                        f"{row} to {row + len(features) - 1}. Use training.cached_views=0."
                    )
                self._features[view, row : row + len(features)] = features
                row += len(features)
                targets.append(target)
                bar.update(len(features))
        bar.close()
        # [views * images, ...], in the order of the passes.
        self._targets = tf.nest.map_structure(lambda *rows: tf.concat(rows, 0), *targets)

    def training(
        self, order: Callable, *, rows: Sequence[int] | None = None, **batching: int
    ) -> tf.data.Dataset:
        """Return the batches of epochs `first_epoch` to `epochs - 1`, as `training_dataset` does.

        Args:
            order: function from an epoch to its draws, int32 [n]; `draw % images` is the image.
            rows: numbers of the images that are drawn from; None for all.
            **batching: arguments of `epoch_batches` from `batch_size` on.
        """
        images = self._rows(rows)

        def row(epoch: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
            # An image that is drawn twice in an epoch comes in two views.
            view = (epoch + draw // len(images)) % self._views
            return view * self._images + tf.gather(images, draw % len(images))

        return epoch_batches(order, row, self._batch, **batching)

    def once(self, *, rows: Sequence[int] | None = None, batch_size: int) -> tf.data.Dataset:
        """Return the images of the first view once, in their order; `rows` as in `training`."""
        dataset = tf.data.Dataset.from_tensor_slices(self._rows(rows))
        return dataset.batch(batch_size).map(self._batch).prefetch(2)

    def _rows(self, rows: Sequence[int] | None) -> np.ndarray:
        return np.int32(rows) if rows is not None else np.arange(self._images, dtype=np.int32)

    def _batch(self, rows: tf.Tensor) -> tuple:
        features = tf.numpy_function(self._take, [rows], self._features.dtype, stateful=False)
        features.set_shape([None, *self._shape])
        targets = tf.nest.map_structure(lambda all_: tf.gather(all_, rows), self._targets)
        return tf.cast(features, self._dtype), targets

    def _take(self, rows: np.ndarray) -> np.ndarray:
        return self._features.reshape(-1, *self._shape)[rows]


class SharedFeatureCache:
    """Holds the features of all images for several runs, such as the folds of a cross-validation.

    These runs train heads on one frozen backbone, each on a part of the same images, and computing
    the features takes far longer than training a head. Runs with other seeds share them too, so the
    seed of augmentation is 0 here. Augmentation also depends on an image's place: among all images
    here, and in the training part if a run has its own cache.

    Its files in the folder have no names, and disappear with this object.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._key: str | None = None
        self._caches: tuple[FeatureCache, FeatureCache] | None = None

    def get(
        self, key: str, compute: Callable[[], tuple[FeatureCache, FeatureCache]]
    ) -> tuple[FeatureCache, FeatureCache]:
        """Return augmented and plain features, computed unless the last call had the same key."""
        if key != self._key:
            self._key = self._caches = None  # first, or the disk has to hold both
            self._caches, self._key = compute(), key
        return self._caches


def fingerprint(config: Config, backbone: keras.Model, image_ids: Sequence[str]) -> str:
    """Return a SHA-256 of all that features depend on: settings, backbone and images."""
    settings = config.replace({"data": {"fold": 0, "val_rotation": 0}, "seed": 0}).to_dict()
    digest = hashlib.sha256(json.dumps([settings, list(image_ids)], sort_keys=True).encode())
    for weight in backbone.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _array_on_disk(shape: tuple[int, ...], folder: Path, dtype: type) -> np.ndarray:
    """Return an array in a file that disappears with the process."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Without this, a full disk ends the process silently when a page is written.
            reserve(file, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise RunError(
            f"{folder} has no space for the cached features, {size / 2**30:.1f} GiB: {error}. "
            "Use fewer views (training.cached_views), or another place (--out)."
        ) from error
