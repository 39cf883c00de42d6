"""Sampling: the order of the images in an epoch, as a function of (seed, epoch).

all          each image once
oversample   images of the rarer classes are repeated until all have equal numbers, shuffled
balanced     the same, and the classes alternate, so that every batch has equal shares

A draw is a number: `draw % images` is the image, and a draw beyond the number of images is that
image again, with another augmentation. The same (seed, epoch) always gives the same epoch.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_ORDER = 0x6F726465  # keeps the random numbers of order and augmentation apart


def epoch_order(
    labels: Sequence[int], *, strategy: str, seed: int
) -> tuple[Callable[[tf.Tensor], tf.Tensor], int]:
    """Return a function from an epoch to its draws, int32 [n], and n.

    `labels` are the class ids of the images, and `strategy` is one of the three above.
    """
    labels = np.asarray(labels)
    images = len(labels)

    def shuffle(values: tf.Tensor, epoch: tf.Tensor, stream: int) -> tf.Tensor:
        key = tf.random.fold_in(tf.constant([seed, _ORDER + stream]), epoch)
        return tf.random.experimental.stateless_shuffle(values, seed=key)

    if strategy == "all":
        return lambda epoch: shuffle(tf.range(images), epoch, 0), images

    members = [np.flatnonzero(labels == label).astype(np.int32) for label in np.unique(labels)]
    each = max(len(indices) for indices in members)

    def even(epoch: tf.Tensor) -> list[tf.Tensor]:
        """Return `each` draws of every class, shuffled within the class."""
        columns = []
        for stream, indices in enumerate(members, start=1):
            rounds = -(-each // len(indices))
            # Whole rounds over the class: the draws of image i are i, i + images, ...
            draws = [shuffle(indices, epoch, stream) + images * r for r in range(rounds)]
            columns.append(tf.concat(draws, 0)[:each])
        return columns

    if strategy == "balanced":
        order = lambda epoch: tf.reshape(tf.stack(even(epoch), axis=1), [-1])  # noqa: E731
    else:
        order = lambda epoch: shuffle(tf.concat(even(epoch), 0), epoch, 0)  # noqa: E731
    return order, each * len(members)
