"""Decoded images of a table: file paths in, uint8 tensors out, kept in memory if they fit."""

import contextlib
import gc
import math
import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from breastus.data.images import read_image
from breastus.errors import ImageError
from breastus.utils.threads import in_threads


class ImageCache:
    """The decoded images of a table, held in memory if they fit, else decoded on each access.

    Files are decoded in Python, as when the manifest was built; the graph gets pixels.

    Args:
        paths: image files.
        crop_and_resize: function from uint8 [H, W, `read_channels`] to uint8 [S, S, C].
        size: S in pixels.
        cache_mb: memory limit in MiB for all images together.
        read: function from one of the paths to uint8 [H, W, `read_channels`].
        read_channels: number of channels that `read` returns.
        channels: C.

    Raises:
        ImageError: if a file cannot be read; the message names it. Without the memory for all
            images it is raised when the file is drawn, see `reraise_image_errors`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        crop_and_resize: Callable,
        size: int,
        cache_mb: int,
        read: Callable[[str], np.ndarray] = read_image,
        read_channels: int = 3,
        channels: int = 3,
    ):
        self._read = read
        self._crop_and_resize = tf.function(
            crop_and_resize, input_signature=[tf.TensorSpec([None, None, read_channels], tf.uint8)]
        )
        self._shape = (size, size, channels)
        self._read_shape = (None, None, read_channels)
        # File names need not be UTF-8.
        self._paths = tf.constant([os.fsencode(path) for path in paths], tf.string)
        self._images = None
        if len(self) * math.prod(self._shape) <= cache_mb * 2**20:
            self._images = tf.constant(self._read_all(paths))

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
        path = tf.gather(self._paths, index)
        pixels = tf.numpy_function(lambda name: self._read(os.fsdecode(name)), [path], tf.uint8)
        pixels = tf.ensure_shape(pixels, self._read_shape)
        return tf.ensure_shape(self._crop_and_resize(pixels), self._shape)

    def _read_all(self, paths: Sequence[str]) -> np.ndarray:
        # Not with `tf.data`: an error that ends the process while its threads wait for Python
        # can make the process wait for them for ever.
        images = np.empty((len(self), *self._shape), np.uint8)
        done = in_threads(
            lambda path: self._crop_and_resize(self._read(path)).numpy(), paths, "decoding images"
        )
        for position, image in enumerate(done):
            images[position] = image
        return images


@contextlib.contextmanager
def reraise_image_errors() -> Iterator[None]:
    """Turn a TensorFlow error that wraps an `ImageError` back into the `ImageError`.

    `tf.data` wraps it if a file was changed or removed after the manifest was built.

    Any error closes the datasets that are read in the block. Their threads wait for Python when
    they read a file; if one is still open when Python ends, each waits for the other for ever.
    """
    try:
        yield
    except BaseException as error:
        _clear_frames(error)
        gc.collect()
        wrapped = re.search(r"ImageError: (.*)", str(error))
        if isinstance(error, tf.errors.OpError) and wrapped:
            raise ImageError(wrapped[1]) from error
        raise


def _clear_frames(error: BaseException | None) -> None:
    """Drop the local variables of all functions that an error has ended, the dataset among them."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # Keras hides its own frames from the traceback; they are reached from the others.
            while frame is not None:
                try:
                    frame.clear()
                except RuntimeError:  # still running
                    break
                frame = frame.f_back
        error = error.__cause__ or error.__context__
