"""The one image transform: decode, marks, trim, resize, colour map, z-score.

It exists once and runs in two places, `tf.data` when training and the exported graph when serving.
Its two halves meet in whole grey levels (uint8 [S, S, 3]), where training caches and augments:

    bytes --decode--> [H, W, 3] --geometry--> uint8 [S, S, 3] --tone--> float32 [S, S, 3], z-scored
"""

from dataclasses import dataclass

import tensorflow as tf

from breastus.config.schema import Config
from breastus.preprocessing.annotations import fill_marks, find_marks
from breastus.preprocessing.color import parula
from breastus.preprocessing.crop_and_resize import border_box, cropped, resize
from breastus.preprocessing.decode import decode_image
from breastus.preprocessing.normalize import zscore


@dataclass(frozen=True, kw_only=True)
class Transform:
    """From a file's bytes, or raw pixels, to what a model takes.

    Args:
        image_size: side S of the square result in pixels.
        trim: whether black borders are cut.
        marks: "keep" leaves what is drawn on an image, "remove" fills it from around, "only" leaves
            nothing else, white on black: what a network learns then, it learns from marks.
        aspect: "squash" fills the square, "keep" keeps the ratio of the sides and pads with black.
        color: "plain" keeps the grey levels, "parula" maps them to OpenCV's PARULA colours.
    """

    image_size: int = 224
    trim: bool = True
    color: str = "plain"
    marks: str = "keep"
    aspect: str = "squash"

    @classmethod
    def of(cls, config: Config) -> "Transform":
        """Build the transform that an experiment's settings describe."""
        return cls(
            image_size=config.model.image_size,
            trim=config.preprocessing.trim,
            color=config.preprocessing.color,
            marks=config.preprocessing.marks,
            aspect=config.preprocessing.aspect,
        )

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn one PNG or JPEG file (scalar string) into uint8 [S, S, 3]."""
        return self.geometry(decode_image(encoded))

    def geometry(self, image: tf.Tensor) -> tf.Tensor:
        """Turn one image [H, W, 3], 0 to 255, to uint8 [S, S, 3]: marks, trim, resize."""
        shown = image
        if self.marks != "keep":
            drawn = find_marks(image)
            shown = image = fill_marks(image, drawn)
            if self.marks == "only":
                white = 255 * tf.cast(drawn, tf.uint8)
                shown = tf.stack([white, white, white], axis=-1)
        # By the image's borders: those of marks on black would hide where the marks are.
        return self._framed(shown, borders_of=image)

    def mask_geometry(self, mask: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        """Turn the lesion mask of an image, [H, W, 1] of 0 and 255, to uint8 [S, S, 1] beside it.

        Values between are shares: how much of a pixel the lesion covers.
        """
        if self.marks != "keep":
            image = fill_marks(image, find_marks(image))
        return self._framed(mask, borders_of=image)

    def _framed(self, shown: tf.Tensor, *, borders_of: tf.Tensor) -> tf.Tensor:
        if self.trim:
            shown = cropped(shown, border_box(borders_of))
        return tf.cast(resize(shown, self.image_size, aspect=self.aspect), tf.uint8)

    def tone(self, image: tf.Tensor) -> tf.Tensor:
        """Colour and z-score [..., S, S, 3], 0 to 255, to float32 [..., S, S, 3]."""
        if self.color == "parula":
            image = parula(image)
        return zscore(image)

    def bytes_to_pixels(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn a batch of files (string [B]) into uint8 [B, S, S, 3]."""
        return self._each(self.decode, encoded)

    def images_to_pixels(self, images: tf.Tensor) -> tf.Tensor:
        """Turn raw images [B, H, W, 3], 0 to 255, into uint8 [B, S, S, 3]."""
        return self._each(self.geometry, images)

    def bytes_to_input(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn a batch of files (string [B]) into model input, float32 [B, S, S, 3]."""
        return self.tone(self.bytes_to_pixels(encoded))

    def pixels_to_input(self, images: tf.Tensor) -> tf.Tensor:
        """Turn raw pixels [B, H, W, 3], 0 to 255, into model input, float32 [B, S, S, 3]."""
        return self.tone(self.images_to_pixels(images))

    def _each(self, half, batch: tf.Tensor) -> tf.Tensor:
        # Images are trimmed to different boxes, so each goes its own way until it is square.
        shape = tf.TensorSpec([self.image_size, self.image_size, 3], tf.uint8)
        return tf.map_fn(half, batch, fn_output_signature=shape)
