"""From images to probabilities with a network in memory: views of test-time augmentation, averaged.

    predict = make_predict_fn(network, config=run.config, calibrator=decision.calibrator)
    predict([pixels, other_pixels])     # uint8 [H, W, 3] each, of any size, to float64 [n]

The views have the same pixels as in `breastus.evaluation.tta`, which describes them.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.config.schema import Config
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.predict_fn import PredictFn
from breastus.evaluation.predictions import lump_probability
from breastus.evaluation.tta import VIEWS, View, gain_table, margins
from breastus.preprocessing.crop_and_resize import resize_batch
from breastus.preprocessing.transform import Transform

TINY = 1e-6  # smallest probability before the logarithm, as in `breastus.evaluation.tta`
_PIXELS = tf.TensorSpec([None, None, 3], tf.uint8)


def view_images(view: View, images: tf.Tensor) -> tf.Tensor:
    """Return a view of images, uint8 [B, S, S, 3]."""
    if view.flip:
        images = tf.reverse(images, [2])
    if any(view.crop):
        side = images.shape[1]
        top, bottom, left, right = margins(side, view.crop)
        cropped = images[:, top : side - bottom, left : side - right]
        images = tf.cast(resize_batch(cropped, side), tf.uint8)
    if view.gain:
        images = tf.gather(tf.constant(gain_table(view.gain)), tf.cast(images, tf.int32))
    return images


def mean_over_views(predict: Callable[[View], np.ndarray], views: Sequence[View]) -> np.ndarray:
    """Return softmax probabilities averaged over views as logits, float64 [n, C]; rows sum to 1.

    Args:
        predict: function from a view to the probabilities of all images in it, [n, C].
        views: at least one view. A single one is not averaged.
    """
    probabilities = [np.asarray(predict(view), float) for view in views]
    if len(probabilities) == 1:
        return probabilities[0] / probabilities[0].sum(axis=-1, keepdims=True)
    logs = np.mean([np.log(np.maximum(each, TINY)) for each in probabilities], axis=0)
    raised = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def make_predict_fn(network: keras.Model, *, config: Config, calibrator: Calibrator) -> PredictFn:
    """Return a function from images, uint8 [H, W, 3], to their P(lump), float64 [n].

    It is for images that are changed before they are preprocessed, as in a robustness test. The
    settings decide transform, views and batch size.
    """
    transform = Transform.from_config(config)
    crop_and_resize = tf.function(transform.crop_and_resize, input_signature=[_PIXELS])

    def predict(images: Sequence[np.ndarray]) -> np.ndarray:
        pixels = tf.stack([crop_and_resize(image) for image in images])

        def predict_view(view: View) -> np.ndarray:
            batch = transform.normalize(view_images(view, pixels))
            return network.predict(batch, batch_size=config.training.batch_size, verbose=0)

        probabilities = mean_over_views(predict_view, VIEWS[config.evaluation.tta])
        return calibrator.apply(lump_probability(probabilities))

    return predict
