"""Decoded images of a table: file paths in, uint8 tensors out, kept in memory if they fit."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from breastus.data.images import ImageFile
from breastus.errors import ImageError


class ImageCache:
    """The decoded images of a table, held in memory if they fit, else decoded on each access.

    Args:
        paths: image files.
        decode: function from file bytes (scalar string tensor) to uint8 [S, S, C].
        size: S in pixels.
        cache_mb: memory limit in MiB for all images together.
        channels: C.
        read: function from one of the paths to a file's bytes.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        decode: Callable,
        size: int,
        cache_mb: int,
        channels: int = 3,
        read: Callable[[str], bytes] = lambda path: ImageFile.read(path).encoded,
    ):
        self._decode = decode
        self._read_bytes = read
        self._shape = (size, size, channels)
        self._paths = tf.constant([str(path) for path in paths], tf.string)
        self._images = None
        if len(self) * math.prod(self._shape) <= cache_mb * 2**20:
            self._images = tf.constant(self._decode_all())

    def __len__(self) -> int:
        return int(self._paths.shape[0])

    @property
    def cached(self) -> bool:
        """Whether the images are held in memory."""
        return self._images is not None

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """Return image `index` as uint8 [S, S, C]."""
        if self._images is not None:
            return tf.gather(self._images, index)
        return self._load(tf.gather(self._paths, index))

    def _load(self, path: tf.Tensor) -> tf.Tensor:
        encoded = tf.numpy_function(lambda name: self._read_bytes(name.decode()), [path], tf.string)
        encoded.set_shape([])
        return tf.ensure_shape(self._decode(encoded), self._shape)

    def _decode_all(self) -> np.ndarray:
        images = np.empty((len(self), *self._shape), np.uint8)
        dataset = tf.data.Dataset.from_tensor_slices(self._paths)
        dataset = dataset.map(self._load, num_parallel_calls=tf.data.AUTOTUNE)
        bar = tqdm(dataset, "decoding images", len(self), leave=False, disable=None)
        with reraise_image_errors():
            for position, image in enumerate(bar):
                images[position] = image.numpy()
        return images


@contextlib.contextmanager
def reraise_image_errors() -> Iterator[None]:
    """Turn a TensorFlow error that wraps an `ImageError` back into the `ImageError`.

    `tf.data` wraps it if a file was changed or removed after the manifest was built.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if wrapped := re.search(r"ImageError: (.*)", str(error)):
            raise ImageError(wrapped[1]) from error
        raise
