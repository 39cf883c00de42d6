"""The exported graph: raw pixels or file bytes in, calibrated probabilities out.

Transform, network, views and calibration are put together here in TensorFlow operations alone, so
that `tf.saved_model.load` serves them with no class of this package.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.tta import View
from breastus.preprocessing.transform import Transform
from breastus.training.views import PLAIN, TINY, see

_TINY = 1e-12  # probabilities are kept off zero before their logarithm is taken


class ServingModule(tf.Module):
    """The exported graph: transform, network, views and calibration.

    `serving_default` takes pixels [B, H, W, 3], uint8 or float32, 0 to 255; `predict_bytes` takes
    PNG or JPEG files, string [B]. Both return `probabilities` float32 [B, classes] and `lump`
    float32 [B].

    Args:
        model: z-scored images to softmax probabilities.
        transform: from an image to the network's input.
        calibrator: of its probabilities.
        views: of test-time augmentation, whose logits are averaged before calibration.
        recalibrator: of the calibrated probabilities, for another hospital.
    """

    def __init__(
        self,
        model: keras.Model,
        transform: Transform,
        calibrator: Calibrator | None = None,
        views: Sequence[View] = PLAIN,
        recalibrator: Calibrator | None = None,
    ):
        super().__init__(name="breastus")
        # Keras' own code is none for AutoGraph; that of the transform needs it.
        self._model = tf.autograph.experimental.do_not_convert(
            lambda inputs: model(inputs, training=False)
        )
        self._transform = transform
        self._calibrators = [one for one in (calibrator, recalibrator) if one is not None]
        self._views = tuple(views)
        # The functions capture the variables; a saved module has to hold what they capture.
        self.tracked = [variable.value for variable in model.variables]

    @tf.function
    def serving_default(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Judge raw pixels."""
        return self._judge(self._transform.images_to_pixels(images))

    @tf.function
    def predict_bytes(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Judge PNG or JPEG files."""
        return self._judge(self._transform.bytes_to_pixels(encoded))

    def _judge(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        tiny = _TINY if len(self._views) == 1 else TINY
        said = [
            tf.math.log(tf.maximum(self._model(self._transform.normalize(see(view, pixels))), tiny))
            for view in self._views
        ]
        logs = tf.add_n(said) / len(said)
        for calibrator in self._calibrators:
            logs = calibrated(logs, calibrator)
        probabilities = tf.nn.softmax(logs)
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


def calibrated(logs: tf.Tensor, calibrator: Calibrator) -> tf.Tensor:
    """Return the logarithms of calibrated probabilities, up to a constant for each image.

    The formulas are those of `breastus.evaluation.calibration.calibrators`; Platt's and
    isotonic calibration are of two classes.

    Args:
        logs: float32 [B, C], logarithms of probabilities, up to a constant for each image.
        calibrator: whose `to_dict` has the numbers.
    """
    if calibrator.method == "temperature":
        return (logs - tf.constant([0.0, calibrator.shift])) / calibrator.temperature
    if calibrator.method == "platt":
        odds = logs[:, 1] - logs[:, 0]
        return tf.stack([tf.zeros_like(odds), calibrator.slope * odds + calibrator.intercept], 1)
    if calibrator.method == "isotonic":
        x, y = (tf.constant(column, tf.float32) for column in zip(*calibrator.knots, strict=True))
        lump = tf.nn.softmax(logs)[:, 1]
        along = tf.clip_by_value((lump[:, None] - x[:-1]) / (x[1:] - x[:-1]), 0.0, 1.0)
        lump = y[0] + tf.reduce_sum((y[1:] - y[:-1]) * along, axis=1)
        return tf.math.log(tf.maximum(tf.stack([1.0 - lump, lump], 1), _TINY))
    return logs
