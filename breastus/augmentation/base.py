"""Base classes of augmentations: NumPy and OpenCV on images, with a seed for each image.

    image = layer(image, seed)        # [H, W, C], values 0 to 255; seed int32 [2]

The same seed gives the same result, eagerly, in a graph and inside a parallel `tf.data` map. Layers
with a random generator of their own cannot promise that. A batch [B, H, W, C] takes seeds [B, 2].

On a CPU, TensorFlow's kernels for resampling, blur and random numbers take several times as long.
Computation is in float32; uint8 images are rounded once, at the end, and returned as uint8.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.errors import ConfigError
from breastus.utils.opencv import cv2

_THREAD = threading.local()


class StatelessAugmentation(keras.layers.Layer):
    """Base class: subclasses implement `apply` for one image.

    Attributes:
        geometric: true for a layer that moves pixels. Its random draws must not depend on the
            image: the lesion mask of an image is moved with the same draws.

    Input shape:
        images uint8 or float32 [H, W, C] or [B, H, W, C], values 0 to 255; seeds int32 [2] or
        [B, 2].

    Output shape:
        Shape and type of the images. float32 values may leave 0 to 255; `Augmenter` clips them.
    """

    geometric = False

    def __init__(self, **kwargs):
        # Augmentation is computed in float32 whatever the precision policy of the model is.
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})

    def build(self, images_shape, seeds_shape=None):
        self.built = True  # Keras warns about a layer without `build`

    def call(self, images, seeds):
        if len(images.shape) == 3 or _runs_in_numpy(self):
            return self.augment(images, seeds)
        return tf.map_fn(
            lambda pair: self.augment(*pair), (images, seeds), fn_output_signature=images.dtype
        )

    def compute_output_shape(self, images_shape, seeds_shape=None):
        return images_shape

    def augment(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return one augmented image, or a batch where the layer runs in NumPy."""
        return _apply_in_numpy([self], image, seed)

    def apply(self, image: np.ndarray, rng: np.random.Generator, out: np.ndarray) -> np.ndarray:
        """Return `image` unchanged, or `out` filled with the augmented image.

        Args:
            image: float32 [H, W, C], contiguous.
            rng: random numbers of this image.
            out: array like `image`. A new array of this size would cost more than most of the
                work, since the system hands out fresh memory page by page.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("breastus")
class Augmenter(StatelessAugmentation):
    """Applies `StatelessAugmentation` layers one after the other, and clips to 0 to 255."""

    def __init__(self, layers: list, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)

    def augment(self, image, seed):
        for position, in_numpy, layers in self._runs():
            if in_numpy:
                image = _apply_in_numpy(layers, image, seed, position)
            else:
                for number, layer in enumerate(layers, start=position):
                    image = layer.augment(image, tf.random.fold_in(seed, number))
        return image if image.dtype == tf.uint8 else tf.clip_by_value(image, 0.0, 255.0)

    def augment_masks(self, masks: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Return masks, uint8 [H, W, 1] or [B, H, W, 1], moved as `augment` moves their images.

        `seeds`, int32 [2] or [B, 2], belong to the images.
        """
        for position, in_numpy, layers in self._runs():
            if in_numpy:
                masks = _apply_in_numpy(layers, masks, seeds, position, geometric_only=True)
        return masks

    def _runs(self) -> Iterator[tuple[int, bool, list]]:
        """Yield position, whether in NumPy, and the layers that one call can apply."""
        position = 0
        for in_numpy, run in itertools.groupby(self.layers, key=_runs_in_numpy):
            layers = list(run)
            yield position, in_numpy, layers
            position += len(layers)

    def get_config(self):
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def image_seed(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Return the seed of one image in one epoch: int32 [2], a function of its arguments alone.

    No two images of a run share one: the multiplier is odd, so epochs do not meet (mod 2^32).
    Philox, which draws from the seeds, is not affected by neighbouring ones.
    """
    first = tf.bitcast(tf.constant(seed, tf.int32), tf.uint32)
    first += tf.cast(epoch, tf.uint32) * tf.constant(0x9E3779B1, tf.uint32)
    return tf.stack([tf.bitcast(first, tf.int32), tf.cast(index, tf.int32)])


def random_generator(seed: np.ndarray, position: int = 0) -> np.random.Generator:
    """Return the random generator of a seed, int32 [2], and the position of a layer."""
    high, low = (int(part) & 0xFFFFFFFF for part in seed)
    return np.random.Generator(np.random.Philox(key=(position << 64) | (high << 32) | low))


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Return `value` as a float. Raises ConfigError when it is not within the bounds."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be at least {low} and at most {high}. Received: {value}")
    return float(value)


def _runs_in_numpy(layer: StatelessAugmentation) -> bool:
    if isinstance(layer, Augmenter):
        return all(map(_runs_in_numpy, layer.layers))
    return type(layer).augment is StatelessAugmentation.augment


def _apply_in_numpy(
    layers: Sequence[StatelessAugmentation],
    image: tf.Tensor,
    seed: tf.Tensor,
    position: int = 0,
    *,
    geometric_only: bool = False,
) -> tf.Tensor:
    """Apply layers to an image or a batch, one layer after the other.

    A batch is one call: changing between TensorFlow's threads and Python costs about as much as
    the work on an image. With `geometric_only` the other layers draw their numbers but change
    nothing, so the geometric ones draw what they drew for the image.
    """

    def augment(image: np.ndarray, seed: np.ndarray, result: np.ndarray) -> None:
        # A grey image is augmented as one channel, at a third of the work.
        planes = cv2.split(image) if image.shape[2] == 3 else ()
        if planes and all(np.array_equal(planes[0], plane) for plane in planes[1:]):
            plane = planes[0][..., None]
            augment_channels(plane, seed, plane)
            cv2.merge([plane] * 3, dst=result)
        else:
            augment_channels(image, seed, result)

    def augment_channels(image: np.ndarray, seed: np.ndarray, result: np.ndarray) -> None:
        rng = random_generator(seed, position)
        current, spare = _buffers(image.shape)
        current[...] = image
        for layer in layers:
            changed = layer.apply(current, rng, spare) is spare
            if changed and (layer.geometric or not geometric_only):
                current, spare = spare, current
        if result.dtype == np.uint8:  # rounds and clips
            cv2.add(current, 0.0, dst=result, dtype=cv2.CV_8U)
        else:
            result[...] = current

    def augment_all(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        result = np.empty_like(images)
        if images.ndim == 3:
            augment(images, seeds, result)
        else:
            for one in zip(images, seeds, result, strict=True):
                augment(*one)
        return result

    image = tf.convert_to_tensor(image)
    augmented = tf.numpy_function(augment_all, [image, seed], image.dtype, stateful=False)
    return tf.ensure_shape(augmented, image.shape)


def _buffers(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two float32 arrays that belong to this thread."""
    kept = _THREAD.__dict__
    if shape not in kept:
        kept.clear()
        kept[shape] = np.empty(shape, np.float32), np.empty(shape, np.float32)
    return kept[shape]
