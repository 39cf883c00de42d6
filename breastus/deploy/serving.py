"""The exported graph: raw pixels or file bytes in, calibrated probabilities out.

Transform, networks and calibration are written here in TensorFlow operations alone, so that
`tf.saved_model.load` serves them with no class of this package.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from breastus.evaluation.calibrators import Calibrator
from breastus.preprocessing.transform import Transform

_TINY = 1e-12  # probabilities are kept off zero before their logarithm is taken


class ServingModule(tf.Module):
    """The exported graph: transform, network and calibration.

    `serving_default` takes pixels [B, H, W, 3], uint8 or float32, 0 to 255; `predict_bytes` takes
    PNG or JPEG files, string [B]. Both return `probabilities` float32 [B, classes] and `lump`
    float32 [B].

    Args:
        model: the network, z-scored images to softmax probabilities.
        transform: from an image to the network's input.
        temperature: divides the logarithms of the probabilities; 1 leaves them as they are.
    """

    def __init__(self, model: keras.Model, transform: Transform, temperature: float):
        super().__init__(name="breastus")
        self._model = tf.autograph.experimental.do_not_convert(
            lambda images: model(images, training=False)
        )
        self._transform = transform
        self._temperature = temperature
        # The functions capture the variables; a saved module has to hold what they capture.
        self.tracked = [variable.value for variable in model.variables]

    @tf.function
    def serving_default(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Judge raw pixels."""
        return self._judge(self._transform.pixels_to_input(images))

    @tf.function
    def predict_bytes(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Judge PNG or JPEG files."""
        return self._judge(self._transform.bytes_to_input(encoded))

    def _judge(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.math.log(tf.maximum(self._model(inputs), _TINY))
        probabilities = tf.nn.softmax(logits / self._temperature)
        return {"probabilities": probabilities, "lump": probabilities[:, 1]}

    def save(self, path: Path) -> None:
        """Write the SavedModel; `tf.saved_model.load(path)` needs no class of this package."""
        pixels = [None, None, None, 3]
        signatures = {
            "serving_default": self.serving_default.get_concrete_function(
                tf.TensorSpec(pixels, tf.float32, "images")
            ),
            # A signature has one type; this one is for callers whose tensors are uint8.
            "serving_uint8": self.serving_default.get_concrete_function(
                tf.TensorSpec(pixels, tf.uint8, "images")
            ),
            "predict_bytes": self.predict_bytes.get_concrete_function(
                tf.TensorSpec([None], tf.string, "encoded")
            ),
        }
        try:
            tf.saved_model.save(self, str(path), signatures=signatures)
        except tf.errors.OpError as error:  # TensorFlow's own kind of a full disk
            raise OSError(re.sub(r"\{\{.*?\}\} ?|\s*\[Op:.*", "", error.message)) from error
