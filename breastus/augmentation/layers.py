"""Augmentations as Keras layers: each draws for itself, per image, from a seed it is handed.

    layer = HorizontalFlip(probability=0.5)
    image = layer(image, seed)        # float32 [H, W, C], values 0 to 255; seed int32 [2]

The same seed gives the same result, eagerly, in a graph and inside a parallel `tf.data` map, which
layers with a generator of their own cannot promise. A batch [B, H, W, C] takes seeds [B, 2].
"""

import keras
import tensorflow as tf

from breastus.errors import ConfigError


class StatelessAugmentation(keras.layers.Layer):
    """Base: subclasses write `augment(image, seed)` for one image.

    Input shape:
        images float32 [H, W, C] or [B, H, W, C], values 0 to 255; seeds int32 [2] or [B, 2].

    Output shape:
        As the images. Values may leave 0 to 255; `Augmenter` clips at the end.
    """

    def __init__(self, **kwargs):
        # Augmentation is done in float32 whatever the model's precision policy is.
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})

    def build(self, images_shape, seeds_shape=None):
        self.built = True  # nothing to create; Keras warns about layers that leave this open

    def call(self, images, seeds):
        if len(images.shape) == 3:
            return self.augment(images, seeds)
        return tf.map_fn(
            lambda pair: self.augment(*pair), (images, seeds), fn_output_signature=tf.float32
        )

    def compute_output_shape(self, images_shape, seeds_shape=None):
        return images_shape

    def augment(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError


@keras.saving.register_keras_serializable("breastus")
class HorizontalFlip(StatelessAugmentation):
    """Mirror left and right: a breast has no preferred side, but a top and a bottom.

    Args:
        probability: share of the images that are mirrored, 0 to 1.
    """

    def __init__(self, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.probability = checked("probability", probability, 0.0, 1.0)

    def augment(self, image, seed):
        flip = tf.random.stateless_uniform([], seed) < self.probability
        return tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)

    def get_config(self):
        return {**super().get_config(), "probability": self.probability}


@keras.saving.register_keras_serializable("breastus")
class Affine(StatelessAugmentation):
    """Scale, shift and rotate in one bilinear resampling; what comes in from outside is mirrored.

    Args:
        scale: largest relative change of size; 0.1 draws a factor from 0.9 to 1.1.
        translation: largest shift as a share of the side, in x and in y.
        rotation: largest angle in degrees, either way.
    """

    def __init__(
        self, scale: float = 0.1, translation: float = 0.1, rotation: float = 15.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.scale = checked("scale", scale, 0.0, 0.9)
        self.translation = checked("translation", translation, 0.0, 1.0)
        self.rotation = checked("rotation", rotation, 0.0, 180.0)

    def augment(self, image, seed):
        drawn = tf.random.stateless_uniform([4], seed, minval=-1.0, maxval=1.0)
        factor = 1.0 + self.scale * drawn[0]
        angle = self.rotation * drawn[1] * (3.141592653589793 / 180.0)
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        shift_y, shift_x = tf.unstack(self.translation * drawn[2:] * size)
        center_y, center_x = tf.unstack((size - 1.0) / 2.0)

        # The op wants the inverse map, from output to input position, about the image's centre.
        cos, sin = tf.cos(angle) / factor, tf.sin(angle) / factor
        offset_x = center_x - cos * (center_x + shift_x) - sin * (center_y + shift_y)
        offset_y = center_y + sin * (center_x + shift_x) - cos * (center_y + shift_y)
        matrix = tf.stack([cos, sin, offset_x, -sin, cos, offset_y, 0.0, 0.0])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=image[None],
            transforms=matrix[None],
            output_shape=tf.shape(image)[:2],
            interpolation="BILINEAR",
            fill_mode="REFLECT",
            fill_value=0.0,
        )[0]

    def get_config(self):
        own = {"scale": self.scale, "translation": self.translation, "rotation": self.rotation}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("breastus")
class MultiplicativeNoise(StatelessAugmentation):
    """Multiply each pixel by 1 + noise, as speckle does; the same noise in all channels.

    Args:
        stddev: largest standard deviation; each image draws its own from 0 to this.
    """

    def __init__(self, stddev: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.stddev = checked("stddev", stddev, 0.0, 1.0)

    def augment(self, image, seed):
        strength_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
        strength = tf.random.stateless_uniform([], strength_seed, maxval=self.stddev)
        shape = tf.concat([tf.shape(image)[:2], [1]], axis=0)
        return image * (1.0 + strength * tf.random.stateless_normal(shape, noise_seed))

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable("breastus")
class GaussianBlur(StatelessAugmentation):
    """Blur with a Gaussian whose width every image draws for itself.

    Args:
        sigma: largest standard deviation in pixels; drawn from 0 (no blur) to this.
        probability: share of the images that are blurred, 0 to 1.
    """

    def __init__(self, sigma: float = 1.5, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.sigma = checked("sigma", sigma, 0.0, 32.0)
        self.probability = checked("probability", probability, 0.0, 1.0)

    def augment(self, image, seed):
        drawn = tf.random.stateless_uniform([2], seed)
        return tf.cond(
            drawn[0] < self.probability,
            lambda: self._blur(image, drawn[1] * self.sigma),
            lambda: image,
        )

    def _blur(self, image, sigma):
        radius = max(1, int(3.0 * self.sigma + 0.5))
        position = tf.range(-radius, radius + 1, dtype=tf.float32)
        # At sigma 0 the kernel is a single one, not a division by zero.
        kernel = tf.exp(-tf.square(position) / (2.0 * tf.square(tf.maximum(sigma, 1e-3))))
        kernel /= tf.reduce_sum(kernel)
        planes = tf.transpose(image, [2, 0, 1])[..., None]
        planes = tf.pad(planes, [[0, 0], [radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")
        planes = tf.nn.conv2d(planes, kernel[:, None, None, None], 1, "VALID")
        planes = tf.nn.conv2d(planes, kernel[None, :, None, None], 1, "VALID")
        return tf.ensure_shape(tf.transpose(planes[..., 0], [1, 2, 0]), image.shape)

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma, "probability": self.probability}


@keras.saving.register_keras_serializable("breastus")
class JpegQuality(StatelessAugmentation):
    """Re-encode as JPEG at a random quality, with KerasCV's `RandomJpegQuality`.

    Args:
        lowest: lowest quality, 1 to 100; drawn from this to 100.
    """

    def __init__(self, lowest: int = 40, **kwargs):
        super().__init__(**kwargs)
        self.lowest = int(checked("lowest", lowest, 1, 100))
        import keras_cv  # here, as only this layer needs it and it takes seconds to import

        self._layer = keras_cv.layers.RandomJpegQuality(factor=(self.lowest, 100))

    def augment(self, image, seed):
        # KerasCV would draw from a generator of its own; the quality is drawn here and handed over.
        quality = tf.random.stateless_uniform(
            [], seed, minval=self.lowest, maxval=101, dtype=tf.int32
        )
        # The encoder takes floats in [0, 1].
        scaled = tf.clip_by_value(image / 255.0, 0.0, 1.0)
        return 255.0 * self._layer.augment_image(scaled, transformation=quality)

    def get_config(self):
        return {**super().get_config(), "lowest": self.lowest}


@keras.saving.register_keras_serializable("breastus")
class Augmenter(StatelessAugmentation):
    """Apply layers one after the other, each with a seed of its own, and clip to 0 to 255.

    Args:
        layers: a list of `StatelessAugmentation`.
    """

    def __init__(self, layers: list, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(layers)

    def augment(self, image, seed):
        for position, layer in enumerate(self.layers):
            image = layer.augment(image, tf.random.fold_in(seed, position))
        return tf.clip_by_value(image, 0.0, 255.0)

    def get_config(self):
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def image_seed(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Return the seed of one image in one epoch: int32 [2], a function of its arguments alone."""
    base = tf.constant([seed, 0x62726561], tf.int32)  # the second number keeps augmentation's own
    return tf.random.fold_in(tf.random.fold_in(base, epoch), index)


def checked(name: str, value: float, low: float, high: float) -> float:
    """Return `value` as a float; raise ConfigError when it is not within the bounds."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be at least {low} and at most {high}. Received: {value}")
    return float(value)
