"""The exported graph: raw pixels or file bytes in, calibrated probabilities out.

Transform, network, views and calibration become TensorFlow operations alone, so that
`tf.saved_model.load` serves them without any class of this package.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.tta import VIEWS, View
from breastus.explain.training_features import TrainingFeatures, network_features
from breastus.labels import KNOWN_FINDINGS, LUMP, NO_LUMP
from breastus.preprocessing.transform import Transform
from breastus.training.predict_fn import TINY, view_images

_TINY = 1e-12  # lower bound of a probability before its logarithm is taken


class ServingModule(tf.Module):
    """The exported graph as a module.

    `serving_default` takes pixels [B, H, W, 3], uint8 or float32, 0 to 255; `predict_bytes` takes
    PNG or JPEG files, string [B]. Both return `probabilities` float32 [B, 2] and `lump` float32
    [B]; of a network of findings also `findings` float32 [B, 3], normal, benign and malignant, of
    which the last two sum to `lump`. B may be 0. Pixels that are NaN or infinite are an error, as
    their cast to whole grey levels would be silent.

    Args:
        model: network from images, as `transform` gives them, to softmax probabilities.
        transform: image transform of the network.
        calibrators: applied to the network's probabilities one after the other.
        views: views of test-time augmentation, whose logits are averaged before calibration. The
            first one must be the unchanged image.
        known: features of the training images. With them the graph also returns `distance`, float32
            [B], see `TrainingFeatures.distance`.
    """

    def __init__(
        self,
        model: keras.Model,
        transform: Transform,
        calibrators: Iterable[Calibrator] = (),
        views: Sequence[View] = VIEWS["none"],
        known: TrainingFeatures | None = None,
    ):
        super().__init__(name="breastus")
        # AutoGraph must not convert Keras' own code, but must convert the transform.
        self._model = tf.autograph.experimental.do_not_convert(
            lambda inputs: model(inputs, training=False)
        )
        self._known, self._features = known, None
        if known is not None:
            both = keras.Model(model.input, [model.output, network_features(model).output])
            self._features = tf.autograph.experimental.do_not_convert(
                lambda inputs: both(inputs, training=False)
            )
        self._transform = transform
        self._calibrators = list(calibrators)
        self._views = tuple(views)
        # The signatures share one trace of the network, which takes long.
        size = transform.image_size
        pixels = tf.TensorSpec([None, size, size, 3], tf.uint8)
        traced = tf.function(self._predict_pixels).get_concrete_function(pixels)
        self._predict = lambda pixels: traced(pixels)  # hidden: it is no function of the module
        # A saved module must hold the variables that its functions capture.
        self.tracked = [variable.value for variable in model.variables]

    @tf.function
    def serving_default(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict raw pixels."""
        if images.dtype.is_floating:
            images = tf.debugging.check_numerics(images, "Pixels must be numbers from 0 to 255")
        return self._predict(self._transform.images_to_pixels(images))

    @tf.function
    def predict_bytes(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict PNG or JPEG files."""
        return self._predict(self._transform.bytes_to_pixels(encoded))

    def _predict_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        # Convolutions fail on an empty batch: it gets an image, whose prediction is dropped.
        count = tf.shape(pixels)[0]
        spare = tf.zeros([tf.cast(count == 0, tf.int32), *pixels.shape[1:]], pixels.dtype)
        pixels = tf.concat([pixels, spare], axis=0)
        tiny = _TINY if len(self._views) == 1 else TINY
        inputs = [self._transform.normalize(view_images(view, pixels)) for view in self._views]
        outputs = {}
        if self._features is None:
            predicted = [self._model(images) for images in inputs]
        else:
            plain, raw = self._features(inputs[0])
            predicted = [plain, *(self._model(images) for images in inputs[1:])]
            outputs["distance"] = distance(raw[:count], self._known)
        logs = [tf.math.log(tf.maximum(one, tiny)) for one in predicted]
        mean = tf.add_n(logs) / len(logs)
        findings = mean if mean.shape[-1] == len(KNOWN_FINDINGS) else None
        if findings is not None:
            lump = tf.reduce_logsumexp(findings[:, LUMP:], axis=1)
            mean = tf.stack([findings[:, NO_LUMP], lump], axis=1)
        for calibrator in self._calibrators:
            mean = calibrated(mean, calibrator)
        probabilities = tf.nn.softmax(mean)[:count]
        outputs |= {"probabilities": probabilities, "lump": probabilities[:, LUMP]}
        if findings is not None:
            # Calibration changes the probability of lump, and not how it is shared.
            shares = tf.nn.softmax(findings[:count, LUMP:])
            shared = probabilities[:, LUMP:] * shares
            outputs["findings"] = tf.concat([probabilities[:, :LUMP], shared], axis=1)
        return outputs

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
        except tf.errors.OpError as error:  # how TensorFlow reports a full disk
            raise OSError(re.sub(r"\{\{.*?\}\} ?|\s*\[Op:.*", "", error.message)) from error


def distance(raw: tf.Tensor, known: TrainingFeatures) -> tf.Tensor:
    """Return `TrainingFeatures.distance` of raw features, float32 [B, C], as float32 [B]."""
    standard = (raw - known.mean) / known.scale
    along = tf.matmul(standard, tf.constant(known.basis))
    beyond = tf.reduce_sum(standard**2, axis=1) - tf.reduce_sum(along**2, axis=1)
    total = tf.reduce_sum(along**2 / known.variance, axis=1)
    return tf.sqrt(total + tf.maximum(beyond, 0.0) / known.residual)


def calibrated(logs: tf.Tensor, calibrator: Calibrator) -> tf.Tensor:
    """Return the logarithms of calibrated probabilities, up to a constant for each image.

    `logs` are logarithms of probabilities of no lump and lump in the same sense, float32 [B, 2].
    The formulas equal `breastus.evaluation.calibration.calibrators`.
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
