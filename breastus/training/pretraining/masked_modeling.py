"""Masked image modelling: a network learns to reconstruct hidden patches of images.

    model = masked_model(network, patch=32, fill="token")
    inputs, targets = hide(images, targets, seeds, patch=32, ratio=0.6, area=area_of(model, 224))

It needs no labels. A 1 x 1 convolution and a pixel shuffle turn the last feature map of the network
into an image again. The decoder is discarded afterwards. The recipe is SimMIM's: patches of 32
pixels, 60 % of them hidden, one-layer head, L1 on hidden pixels, a learnt token in their place.
Convolutional networks get zeros instead, the baseline of ConvMAE and SparK, or the mean of the
visible pixels of the image.

References:
    Xie et al.: SimMIM: A Simple Framework for Masked Image Modeling. CVPR 2022.
    Gao et al.: MCMAE: Masked Convolution Meets Masked Autoencoders. NeurIPS 2022 (ConvMAE).
    Tian et al.: Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked
    Modeling. ICLR 2023 (SparK).
"""

import math

import keras
import tensorflow as tf
from keras import layers, ops

from breastus.errors import ConfigError, ModelError

FILLS = ("token", "mean", "zero")
IMAGE, MASK = "image", "hidden"
_TOKEN = 4  # pixels; the patch size of a Swin, for which the token can then be any embedding
_HIDE = 0x68696465  # keeps the random numbers of masks and augmentation apart


def check_masking(image_size: int, *, patch: int, ratio: float, fill: str) -> None:
    """Raise a ConfigError if images of this size cannot be masked like this."""
    if fill not in FILLS:
        raise ConfigError(f"fill must be one of {', '.join(FILLS)}. Received: {fill!r}")
    if not isinstance(patch, int) or patch < 1 or image_size % patch or patch == image_size:
        fitting = [side for side in range(4, image_size // 2 + 1) if image_size % side == 0]
        raise ConfigError(
            f"patch must be a whole number of pixels that divides the image_size of {image_size}, "
            f"such as {', '.join(map(str, fitting[-4:]))}. Received: {patch!r}"
        )
    if fill == "token" and patch % _TOKEN:
        raise ConfigError(
            f"patch must be a multiple of {_TOKEN}, the size of the token, for fill=token. "
            f"Received: {patch}"
        )
    patches = (image_size // patch) ** 2
    if not 0.0 < ratio < 1.0 or not 0 < _hidden(patches, ratio) < patches:
        raise ConfigError(
            f"mask_ratio must be above 0 and below 1, and leave some of the {patches} patches "
            f"visible. Received: {ratio}"
        )


def hide(
    images: tf.Tensor,
    targets: tf.Tensor,
    seeds: tf.Tensor,
    *,
    patch: int,
    ratio: float,
    area: tuple[int, int, int, int],
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Draw the hidden patches of each image, and make the image its own target.

    Args:
        images: model input, float32 [B, S, S, 3].
        targets: targets of another task; not used.
        seeds: seeds of the images, int32 [B, 2], which decide the patches.
        patch: side of the hidden patches in pixels.
        ratio: share of the patches that are hidden, rounded up, as in SimMIM.
        area: the reconstructed area, from `area_of`.

    Returns:
        ({"image": images, "hidden": float32 [B, n, n, 1], 1 for a hidden patch},
        float32 [B, height, width, 4]: pixels of the area, and 1 for a hidden pixel).
    """
    side = images.shape[1] // patch
    # Other numbers than those that the augmentation draws from the same seeds.
    seeds = tf.map_fn(lambda seed: tf.random.fold_in(seed, _HIDE), seeds)
    draw = lambda seed: tf.random.stateless_uniform([side * side], seed)  # noqa: E731
    drawn = tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
    rank = tf.argsort(tf.argsort(drawn, stable=True), stable=True)
    hidden = tf.cast(rank < _hidden(side * side, ratio), tf.float32)
    hidden = tf.reshape(hidden, [-1, side, side, 1])
    top, left, height, width = area
    both = tf.concat([images, _to_pixels(hidden, patch)], axis=-1)
    return {IMAGE: images, MASK: hidden}, both[:, top : top + height, left : left + width]


def masked_model(model: keras.Model, *, patch: int, fill: str) -> keras.Model:
    """Return a network with a decoder instead of its head; the other layers are shared.

    Args:
        model: a network of z-scored images [B, S, S, 3], with a layer `feature_map`, or a layer
            `features` whose input is its last feature map.
        patch: side of the hidden patches in pixels.
        fill: content of hidden patches: "token" (learnt), "mean" (of the visible pixels) or "zero"
            (the z-score of ImageNet's mean).

    Returns:
        A model that maps {"image": [B, S, S, 3], "hidden": [B, n, n, 1]} to float32
        [B, height, width, 3], the middle of the image if the map does not reach its borders.
    """
    size = model.inputs[0].shape[1]
    features = _last_map(model)
    side, stride = features.shape[1], size // features.shape[1]

    # === Functional model ===
    image = keras.Input(model.inputs[0].shape[1:], name=IMAGE)
    hidden = keras.Input((size // patch, size // patch, 1), name=MASK)
    x = HidePatches(fill, name="hide")(image, hidden)
    x = keras.Model(model.inputs, features, name="backbone")(x)
    # float32 with every precision policy, like the head.
    x = layers.Conv2D(3 * stride**2, 1, dtype="float32", name="decoder")(x)
    x = layers.Reshape((side, side, stride, stride, 3), dtype="float32", name="decoder_cells")(x)
    x = layers.Permute((1, 3, 2, 4, 5), dtype="float32", name="decoder_order")(x)
    x = layers.Reshape((side * stride, side * stride, 3), dtype="float32", name="decoder_image")(x)
    return keras.Model({IMAGE: image, MASK: hidden}, x, name=f"masked_{model.name}")


def area_of(masked: keras.Model, image_size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the area that a `masked_model` reconstructs."""
    height, width = masked.output.shape[1:3]
    return (image_size - height) // 2, (image_size - width) // 2, height, width


@keras.saving.register_keras_serializable("breastus")
class HidePatches(layers.Layer):
    """Replace hidden patches of images [B, S, S, 3] by the `fill` of `masked_model`.

    `hidden` is [B, n, n, 1], 1 for a hidden patch, else 0; n divides S.
    """

    def __init__(self, fill: str, **kwargs):
        super().__init__(**kwargs)
        self.fill = fill

    def build(self, images_shape, hidden_shape):
        if self.fill == "token":
            # Initialised as in SimMIM; the name excludes it from weight decay.
            drawn = keras.initializers.TruncatedNormal(stddev=0.02)
            shape = (_TOKEN, _TOKEN, images_shape[-1])
            self.token = self.add_weight(shape=shape, initializer=drawn, name="token_bias")
        self.built = True

    def call(self, images, hidden):
        size = images.shape[1]
        pixels = _to_pixels(ops.cast(hidden, images.dtype), size // hidden.shape[1])
        if self.fill == "token":
            token = ops.cast(self.token, images.dtype)
            filling = ops.tile(token, (size // _TOKEN, size // _TOKEN, 1))[None]
        elif self.fill == "mean":
            seen = ops.sum(images * (1 - pixels), axis=(1, 2, 3), keepdims=True)
            filling = seen / ops.maximum(ops.sum(1 - pixels, axis=(1, 2, 3), keepdims=True), 1)
            filling = filling / images.shape[-1]
        else:
            filling = 0.0
        return images * (1 - pixels) + filling * pixels

    def compute_output_shape(self, images_shape, hidden_shape):
        return images_shape

    def get_config(self):
        return {**super().get_config(), "fill": self.fill}


@keras.saving.register_keras_serializable("breastus")
class MaskedL1(keras.losses.Loss):
    """Mean absolute difference over the hidden pixels of each image.

    Call arguments:
        y_true: [B, H, W, 4], pixels of the image, and 1 for a hidden pixel, else 0.
        y_pred: [B, H, W, 3].
    """

    def __init__(self, name: str = "masked_l1", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        hidden = y_true[..., 3:]
        away = ops.abs(y_true[..., :3] - ops.cast(y_pred, y_true.dtype)) * hidden
        count = ops.maximum(ops.sum(hidden, axis=(1, 2, 3)), 1.0) * 3.0
        return ops.sum(away, axis=(1, 2, 3)) / count


def _last_map(model: keras.Model):
    named = {layer.name: layer for layer in model.layers}
    if "feature_map" in named:
        return named["feature_map"].output
    # The study's CNN flattens its last map.
    found = named["features"].input if "features" in named else None
    if len(getattr(found, "shape", ())) != 4:
        raise ModelError(
            "Masked image modelling needs a network with a layer named feature_map, or named "
            f"features with a feature map as input; {model.name} has neither. Pretrain on phantoms "
            "instead."
        )
    return found


def _to_pixels(hidden, patch: int):
    return ops.repeat(ops.repeat(hidden, patch, axis=1), patch, axis=2)


def _hidden(patches: int, ratio: float) -> int:
    return math.ceil(patches * ratio)
