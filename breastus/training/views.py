"""Views of test-time augmentation in TensorFlow: the same pixels as `breastus.evaluation.tta`.

see(view, images)                          # uint8 [B, S, S, 3] to the same
mean_over_views(predict, views)            # predict(view) gives softmax probabilities [n, C]
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from breastus.evaluation.tta import VIEWS, View, gain_table, margins

TINY = 1e-6  # probabilities are kept off zero by this, as in `breastus.evaluation.tta`
PLAIN = VIEWS["none"]


def see(view: View, images: tf.Tensor) -> tf.Tensor:
    """Return a view of images, uint8 [B, S, S, 3]."""
    if view.flip:
        images = tf.reverse(images, [2])
    if any(view.crop):
        side = images.shape[1]
        top, bottom, left, right = margins(side, view.crop)
        kept = tf.cast(images[:, top : side - bottom, left : side - right], tf.float32)
        images = tf.cast(tf.round(tf.image.resize(kept, [side, side])), tf.uint8)
    if view.gain:
        images = tf.gather(tf.constant(gain_table(view.gain)), tf.cast(images, tf.int32))
    return images


def mean_over_views(
    predict: Callable[[View], np.ndarray], views: Sequence[View] = PLAIN
) -> np.ndarray:
    """Average softmax probabilities over views, as logits.

    Args:
        predict: a view to the probabilities of all images in it, [n, C].
        views: at least one. A single one is not averaged.

    Returns:
        float64 [n, C], rows summing to 1.
    """
    said = [np.asarray(predict(view), float) for view in views]
    if len(said) == 1:
        return said[0] / said[0].sum(axis=-1, keepdims=True)
    logs = np.mean([np.log(np.maximum(one, TINY)) for one in said], axis=0)
    raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
