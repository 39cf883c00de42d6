"""Logistic regression on cells of EfficientNet-Lite0: z-scored images in, probabilities out.

A cell is a square of 16 x 16 pixels. Its features come from the maps of strides 8, 16 and 32 of the
image, and of the same image at half its size, which adds context and large lesions. Each feature
enters twice: normalised over the batch, and normalised over its own image, which removes what a
scanner and its settings do to a whole image. One linear layer turns them into the lesion logit of
the cell, which lesion masks supervise (`training.mask_weight`). The head receives two numbers: the
largest logit, and the mean of the largest 4 %.

With a frozen backbone, which is the default, only this linear layer and the head are trained: about
two thousand weights. `efficientnet_mil` has two hidden layers instead.
"""

import keras
from keras import layers, ops

from breastus.models.efficientnet.efficientnet_mil import (
    EPSILON,
    PRIOR,
    SHARES,
    TopKMean,
    cell_features,
    check_mil_arguments,
)
from breastus.models.efficientnet.lite import strided_maps
from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization
from breastus.models.layers.head import head
from breastus.models.registry import register_model

_STRIDE = 64  # stride of the coarsest map in pixels of the input
# Factor on the logits of the cells. Adam moves every weight by the learning rate, and two thousand
# weights that move together need a smaller one than the head's.
_SLOWER = 1 / 16


@register_model("efficientnet_cells")
def efficientnet_cells(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build the network: 3.0 million parameters, 2 thousand of them after the backbone.

    Args:
        image_size: side of the input in pixels, a multiple of 64, at least 128.
        weights: weights of the backbone: None, "imagenet" or a `.pth` file, as for
            `efficientnet_lite0`.
        dropout: share of the features that are dropped in training.

    Returns:
        An uncompiled `keras.Model`; its layer `lesion_logits` gives logits [B, S / 16, S / 16, 1].
    """
    check_mil_arguments(
        "efficientnet_cells", image_size=image_size, dropout=dropout, stride=_STRIDE
    )
    maps = strided_maps(weights=weights)

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    half = layers.AveragePooling2D(2, name="half_size")(image)
    x = layers.Concatenate(name="feature_map")(
        [
            *cell_features(maps(image)),
            layers.UpSampling2D(2, name="half_size_enlarged")(
                layers.Concatenate(name="half_size_map")(cell_features(maps(half), "_half"))
            ),
        ]
    )
    # The scales of the maps differ by a factor of a hundred. A training has some hundred steps.
    x = FusedBatchNormalization(momentum=0.9, center=False, scale=False, name="map_norm")(x)
    x = layers.SpatialDropout2D(dropout, name="map_dropout")(x)
    evidence = CellLogits(dtype="float32", name="lesion_logits")(x)
    x = TopKMean(SHARES, name="features")(evidence)
    # At first, the logit of lump is the mean of the two numbers.
    classes = keras.initializers.Constant([-0.25] + [0.25] * (num_classes - 1))
    x = head(x, num_classes=num_classes, dropout=0.0, kernel_initializer=classes)
    return keras.Model(image, x, name="efficientnet_cells")


@keras.saving.register_keras_serializable("breastus")
class CellLogits(layers.Layer):
    """Logit of each cell: linear in its features, and in its features relative to their image.

    A relative feature is `(x - mean) / sqrt(variance + 0.1)` over the cells of the image. It is not
    computed: the image's weights are, `absolute + relative / sqrt(variance + 0.1)`.

    Input shape:
        [B, h, w, C].

    Output shape:
        [B, h, w, 1].
    """

    def build(self, shape):
        # Small, so that two thousand features do not add up; not zero, or no gradient passes.
        small = keras.initializers.RandomNormal(stddev=0.001)
        for name in ("absolute", "relative"):
            setattr(self, name, self.add_weight((shape[-1],), initializer=small, name=name))
        self.bias = self.add_weight((1,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x):
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, height * width, channels))
        mean, variance = ops.moments(x, axes=1)
        relative = self.relative / ops.sqrt(variance + EPSILON)
        logits = ops.matmul(x, (self.absolute + relative)[..., None])
        logits -= ops.sum(relative * mean, axis=1)[:, None, None]
        logits = PRIOR + _SLOWER * (logits + self.bias)
        return ops.reshape(logits, (-1, height, width, 1))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 1)
