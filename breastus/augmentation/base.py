"""What all augmentations share: a seed handed in, NumPy and OpenCV at work, called from the graph.

    image = layer(image, seed)        # [H, W, C], values 0 to 255; seed int32 [2]

The same seed gives the same result, eagerly, in a graph and inside a parallel `tf.data` map, which
layers with a generator of their own cannot promise. A batch [B, H, W, C] takes seeds [B, 2].

On a CPU, TensorFlow's own kernels for resampling, blur and random numbers take several times as
long. The work is done in float32; an image that came as uint8 leaves as uint8, rounded once, at the
end.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.errors import ConfigError
from breastus.utils.opencv import cv2

_OF_THREAD = threading.local()


class StatelessAugmentation(keras.layers.Layer):
    """Base: subclasses write `change(image, rng, spare)` for one image.

    Attributes:
        moves: whether the layer moves pixels to other places, by draws that do not depend on the
            image; a lesion's mask is then moved along.

    Input shape:
        images uint8 or float32 [H, W, C] or [B, H, W, C], values 0 to 255; seeds int32 [2] or
        [B, 2].

    Output shape:
        As the images, and of their type. float32 values may leave 0 to 255; `Augmenter` clips at
        the end.
    """

    moves = False

    def __init__(self, **kwargs):
        # Augmentation is done in float32 whatever the model's precision policy is.
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})

    def build(self, images_shape, seeds_shape=None):
        self.built = True  # nothing to create; Keras warns about layers that leave this open

    def call(self, images, seeds):
        if len(images.shape) == 3:
            return self.augment(images, seeds)
        if _works_on_host(self):
            return self.augment(images, seeds)
        return tf.map_fn(
            lambda pair: self.augment(*pair), (images, seeds), fn_output_signature=images.dtype
        )

    def compute_output_shape(self, images_shape, seeds_shape=None):
        return images_shape

    def augment(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return one image, or on the host a batch of them, changed as the seeds say."""
        return _on_host([self], image, seed)

    def change(self, image: np.ndarray, rng: np.random.Generator, spare: np.ndarray) -> np.ndarray:
        """Return `image` as it is or `spare`, filled with it changed.

        Args:
            image: float32 [H, W, C], contiguous.
            rng: to draw from.
            spare: like `image`. New arrays of this size cost more than most of the work: fresh
                memory comes from the system page by page.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("breastus")
class Augmenter(StatelessAugmentation):
    """Apply layers one after the other, and clip to 0 to 255.

    Args:
        layers: a list of `StatelessAugmentation`.
    """

    def __init__(self, layers: list, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)

    def augment(self, image, seed):
        for position, on_host, layers in self._runs():
            if on_host:
                image = _on_host(layers, image, seed, position)
            else:
                for number, layer in enumerate(layers, start=position):
                    image = layer.augment(image, tf.random.fold_in(seed, number))
        return image if image.dtype == tf.uint8 else tf.clip_by_value(image, 0.0, 255.0)

    def move_masks(self, masks: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Return masks as they lie after `augment` with the same seeds.

        Args:
            masks: uint8 [H, W, 1] or [B, H, W, 1].
            seeds: int32 [2] or [B, 2], those of the images.
        """
        for position, on_host, layers in self._runs():
            if on_host:
                masks = _on_host(layers, masks, seeds, position, only_moves=True)
        return masks

    def _runs(self) -> Iterator[tuple[int, bool, list]]:
        """Yield layers that can be done in one call to the host, and their place in the order."""
        position = 0
        for on_host, run in itertools.groupby(self.layers, key=_works_on_host):
            layers = list(run)
            yield position, on_host, layers
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
    Neighbouring seeds are no trouble to Philox, which draws from them.
    """
    first = tf.bitcast(tf.constant(seed, tf.int32), tf.uint32)
    first += tf.cast(epoch, tf.uint32) * tf.constant(0x9E3779B1, tf.uint32)
    return tf.stack([tf.bitcast(first, tf.int32), tf.cast(index, tf.int32)])


def generator(seed: np.ndarray, position: int = 0) -> np.random.Generator:
    """Return random numbers that are a function of a seed, int32 [2], and a position."""
    high, low = (int(part) & 0xFFFFFFFF for part in seed)
    return np.random.Generator(np.random.Philox(key=(position << 64) | (high << 32) | low))


def checked(name: str, value: float, low: float, high: float) -> float:
    """Return `value` as a float; raise ConfigError when it is not within the bounds."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be at least {low} and at most {high}. Received: {value}")
    return float(value)


def _works_on_host(layer: StatelessAugmentation) -> bool:
    if isinstance(layer, Augmenter):
        return all(map(_works_on_host, layer.layers))
    return type(layer).augment is StatelessAugmentation.augment


def _on_host(
    layers: Sequence[StatelessAugmentation],
    image: tf.Tensor,
    seed: tf.Tensor,
    position: int = 0,
    *,
    only_moves: bool = False,
) -> tf.Tensor:
    """Let layers change an image or a batch, one layer after the other, outside of TensorFlow.

    A batch is one call: changing between TensorFlow's threads and Python costs about as much as
    the work on an image. With `only_moves` the other layers draw their numbers and change nothing,
    so that what moves draws what it drew for the image.
    """

    def change(image: np.ndarray, seed: np.ndarray, result: np.ndarray) -> None:
        # Of a grey image one channel says it all: a third of the work, as layers treat all alike.
        planes = cv2.split(image) if image.shape[2] == 3 else ()
        if planes and all(np.array_equal(planes[0], plane) for plane in planes[1:]):
            plane = planes[0][..., None]
            change_colors(plane, seed, plane)
            cv2.merge([plane] * 3, dst=result)
        else:
            change_colors(image, seed, result)

    def change_colors(image: np.ndarray, seed: np.ndarray, result: np.ndarray) -> None:
        rng = generator(seed, position)
        current, spare = _scratch(image.shape)
        current[...] = image
        for layer in layers:
            if layer.change(current, rng, spare) is spare and (layer.moves or not only_moves):
                current, spare = spare, current
        if result.dtype == np.uint8:  # rounds, and keeps to 0 to 255
            cv2.add(current, 0.0, dst=result, dtype=cv2.CV_8U)
        else:
            result[...] = current

    def change_all(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        result = np.empty_like(images)
        if images.ndim == 3:
            change(images, seeds, result)
        else:
            for one in zip(images, seeds, result, strict=True):
                change(*one)
        return result

    image = tf.convert_to_tensor(image)
    changed = tf.numpy_function(change_all, [image, seed], image.dtype, stateful=False)
    return tf.ensure_shape(changed, image.shape)


def _scratch(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two float32 arrays that belong to this thread."""
    kept = _OF_THREAD.__dict__
    if shape not in kept:
        kept.clear()
        kept[shape] = np.empty(shape, np.float32), np.empty(shape, np.float32)
    return kept[shape]
