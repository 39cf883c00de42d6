"""The one image transform: decode, treat annotations, crop, resize, colour map, scale.

It runs inside `tf.data` when training and inside the exported graph when serving. Its two halves
meet in whole grey levels, which training caches and augments:

    bytes --decode, crop_and_resize--> uint8 [S, S, 3] --normalize--> float32 [S, S, 3]
"""

from dataclasses import dataclass

import tensorflow as tf

from breastus.config.schema import Config
from breastus.preprocessing.annotations import fill_annotations, find_annotations
from breastus.preprocessing.color import parula
from breastus.preprocessing.crop_and_resize import border_box, crop, distinct_planes, resize
from breastus.preprocessing.decode import decode_image
from breastus.preprocessing.normalize import scale


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Turns a file's bytes, or raw pixels, into the input of a model.

    Args:
        image_size: side S of the square result in pixels.
        trim: true to cut black borders.
        annotations: "keep" leaves burned-in annotations, "remove" fills them from their
            surroundings, "only" shows nothing else, in white on black: what a network then learns,
            it learns from annotations.
        aspect: "squash" fills the square, "keep" keeps the ratio of the sides and pads with black.
        color: "plain" keeps the grey levels, "parula" maps them to OpenCV's PARULA colours.
        scaling: "zscore", "unit" (0 to 1) or "raw" (0 to 255), the values that the model receives.
    """

    image_size: int = 224
    trim: bool = True
    color: str = "plain"
    annotations: str = "keep"
    aspect: str = "squash"
    scaling: str = "zscore"

    @classmethod
    def from_config(cls, config: Config) -> "Transform":
        """Build the transform that the settings of an experiment describe."""
        return cls(
            image_size=config.model.image_size,
            trim=config.preprocessing.trim,
            color=config.preprocessing.color,
            annotations=config.preprocessing.annotations,
            aspect=config.preprocessing.aspect,
            scaling=config.preprocessing.scaling,
        )

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn one PNG or JPEG file (scalar string) into uint8 [S, S, 3]."""
        return self.crop_and_resize(decode_image(encoded))

    def crop_and_resize(self, image: tf.Tensor) -> tf.Tensor:
        """Turn one image [H, W, 3], whole numbers 0 to 255, into uint8 [S, S, 3]."""
        shown = image
        if self.annotations != "keep":
            drawn = find_annotations(image)
            shown = image = fill_annotations(image, drawn)
            if self.annotations == "only":
                white = 255 * tf.cast(drawn, tf.uint8)
                shown = tf.stack([white, white, white], axis=-1)
        # The image decides where the borders are: annotations on black would move them.
        return self._resized(shown, borders_of=image)

    def crop_and_resize_mask(self, mask: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        """Turn the lesion mask of an image in the same way.

        Args:
            mask: [H, W, 1], 0 or 255.
            image: [H, W, 3], 0 to 255, the image of the mask.

        Returns:
            uint8 [S, S, 1]; values between 0 and 255 are the covered fraction of a pixel.
        """
        if self.annotations != "keep":
            image = fill_annotations(image, find_annotations(image))
        return self._resized(mask, borders_of=image)

    def shown_box(self, image: tf.Tensor) -> tf.Tensor:
        """Return the part of an image [H, W, 3] that the square shows.

        Returns:
            int32 [4]: top, bottom, left, right in pixels of the image.
        """
        if not self.trim:
            height, width = tf.unstack(tf.shape(image)[:2])
            return tf.stack([0, height, 0, width])
        if self.annotations != "keep":
            image = fill_annotations(image, find_annotations(image))
        return border_box(distinct_planes(image)[1])

    def normalize(self, image: tf.Tensor) -> tf.Tensor:
        """Map colours and scale [..., S, S, 3], 0 to 255, to float32 [..., S, S, 3]."""
        if self.color == "parula":
            image = parula(image)
        return scale(image, self.scaling)

    def bytes_to_pixels(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn a batch of files (string [B]) into uint8 [B, S, S, 3]."""
        return self._map(self.decode, encoded)

    def images_to_pixels(self, images: tf.Tensor) -> tf.Tensor:
        """Turn raw images [B, H, W, 3], uint8 or float32, 0 to 255, into uint8 [B, S, S, 3].

        Floats are first rounded to whole grey levels and clipped.
        """
        if images.dtype.is_floating:
            images = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)
        return self._map(self.crop_and_resize, images)

    def bytes_to_input(self, encoded: tf.Tensor) -> tf.Tensor:
        """Turn a batch of files (string [B]) into model input, float32 [B, S, S, 3]."""
        return self.normalize(self.bytes_to_pixels(encoded))

    def _resized(self, shown: tf.Tensor, *, borders_of: tf.Tensor) -> tf.Tensor:
        shape = [self.image_size, self.image_size, shown.shape[-1]]
        planes, brightest = distinct_planes(borders_of)
        if shown is not borders_of:
            planes = shown
        if self.trim:
            planes = crop(planes, border_box(brightest))
        resized = resize(planes, self.image_size, aspect=self.aspect)
        return tf.cast(tf.broadcast_to(resized, shape), tf.uint8)

    def _map(self, function, batch: tf.Tensor) -> tf.Tensor:
        # Images are cropped to different boxes, so they become a batch only once they are square.
        shape = tf.TensorSpec([self.image_size, self.image_size, 3], tf.uint8)
        return tf.map_fn(function, batch, fn_output_signature=shape)
