"""A trained network as a function of images as they were read: pixels in, probabilities out.

    predict = make_predict_fn(network, config=run.config, calibrator=decision.calibrator)
    predict([pixels, other_pixels])     # uint8 [H, W, 3] each, of any size, to float [n]

For what changes images before they are preprocessed. Transform, views and calibration are those
that the network is judged and exported with.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.config.schema import Config
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.predict_fn import PredictFn
from breastus.evaluation.predictions import lump_probability
from breastus.evaluation.tta import VIEWS, View
from breastus.preprocessing.transform import Transform
from breastus.training.views import mean_over_views, see

_PIXELS = tf.TensorSpec([None, None, 3], tf.uint8)


def make_predict_fn(network: keras.Model, *, config: Config, calibrator: Calibrator) -> PredictFn:
    """Return a function from images, uint8 [H, W, 3], to their probabilities of lump, float64 [n].

    Args:
        network: z-scored images to softmax probabilities.
        config: the experiment's settings: transform, views, batch size.
        calibrator: of the network's probability.
    """
    transform = Transform.from_config(config)
    crop_and_resize = tf.function(transform.crop_and_resize, input_signature=[_PIXELS])

    def predict(images: Sequence[np.ndarray]) -> np.ndarray:
        pixels = tf.stack([crop_and_resize(image) for image in images])

        def in_view(view: View) -> np.ndarray:
            batch = transform.normalize(see(view, pixels))
            return network.predict(batch, batch_size=config.training.batch_size, verbose=0)

        raw = mean_over_views(in_view, VIEWS[config.evaluation.tta])
        return calibrator.apply(lump_probability(raw))

    return predict
