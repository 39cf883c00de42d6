"""From a trained run to a bundle: one folder that needs nothing but TensorFlow.

saved_model/       raw pixels or file bytes in, calibrated probabilities out
bundle.json        labels, threshold, temperature, metrics with intervals, what it was trained on
model.keras        the network alone, z-scored images in
MODEL_CARD.md      the same for a person
seen_images.txt    checksums of the images that took part in training, to know them again
"""

import hashlib
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from breastus.deploy.card import model_card
from breastus.files import write_folder_aside, write_json, write_text
from breastus.preprocessing.transform import Transform

FORMAT = 1
INFO_FILE = "bundle.json"
SAVED_MODEL = "saved_model"
CARD_FILE = "MODEL_CARD.md"
SEEN_FILE = "seen_images.txt"
SEEN_DIGITS = 16  # of a SHA-256: enough to know a file again, too few to be worth collecting
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


def write_bundle(
    out: Path,
    *,
    keras_file: Path,
    transform: Transform,
    info: dict[str, Any],
    seen: Iterable[str],
) -> Path:
    """Write a bundle folder, whole or not at all; a bundle that stood there is replaced.

    Args:
        out: the bundle's folder.
        keras_file: the trained network.
        transform: what it was trained with.
        info: what bundle.json says, `temperature` among it; format, checksums and the date are
            added here.
        seen: SHA-256 of each image file that weights, epoch or temperature were chosen by.

    Returns:
        `out`.

    Raises:
        RunError: when it cannot be written.
    """
    model = keras.models.load_model(keras_file, compile=False, safe_mode=True)
    with write_folder_aside(out) as folder:
        ServingModule(model, transform, info["temperature"]).save(folder / SAVED_MODEL)
        shutil.copyfile(keras_file, folder / "model.keras")
        info = {
            "format": FORMAT,
            **info,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        short = sorted({sha[:SEEN_DIGITS] for sha in seen})
        write_text(folder / SEEN_FILE, "".join(f"{sha}\n" for sha in short))
        write_text(folder / CARD_FILE, model_card(info))
        write_json(folder / INFO_FILE, {**info, "files": checksums(folder)})
    return Path(out)


def publish(bundle: Path, out: Path) -> Path:
    """Copy a bundle to where it is served from, replacing what stood there in one step."""
    with write_folder_aside(out) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
    return Path(out)


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a bundle, bundle.json left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != INFO_FILE
    }
