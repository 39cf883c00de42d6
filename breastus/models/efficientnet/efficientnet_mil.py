"""Multiple-instance learning on EfficientNet-Lite0: z-scored images in, softmax probabilities out.

A lump covers a few per cent of an image, so the mean over a feature map hides it. This network
treats each cell of 16 x 16 pixels as an instance. It concatenates the maps of strides 8, 16 and 32
(the levels of a feature pyramid: Lin et al., Feature Pyramid Networks, CVPR 2017), computes one
lesion logit per cell, and pools the largest logits. The head receives these and the average of the
cells' features. Lesion masks can supervise the cells (`training.mask_weight`); without masks the
cells learn from image labels alone.

Each cell enters twice: normalised over the batch, and normalised over its own image. The second
form removes what a scanner and its settings do to a whole image. Batch and instance normalisation
side by side generalise better to other domains (Pan et al., IBN-Net, ECCV 2018).

The backbone's pooled features are not used. They separate hospitals as well as lumps: with them the
network gains little on images of its own hospital and loses on images of another one.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

from breastus.errors import ModelError
from breastus.models.efficientnet.efficientnet_lite0 import efficientnet_lite0
from breastus.models.efficientnet.lite import MAP_LAYERS
from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization
from breastus.models.layers.head import head
from breastus.models.registry import register_model

_STRIDE = 32  # stride of the coarsest map; the others have 8 and 16
_WIDTH = 64  # channels of the cell features
PRIOR = -2.0  # initial logit of a cell: a lump covers about a tenth of an image
# Keeps channels that hardly vary within an image (its variance is about 1) from becoming noise.
EPSILON = 0.1
SHARES = (0.0, 0.04)  # shares of cells whose mean logit the head receives; 0: the largest one


@register_model("efficientnet_mil")
def efficientnet_mil(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.3
) -> keras.Model:
    """Build the network: 3.1 million parameters, 0.1 million of them after the backbone.

    Args:
        image_size: side of the input in pixels, a multiple of 32, at least 64.
        weights: weights of the backbone: None, "imagenet" or a `.pth` file, as for
            `efficientnet_lite0`.
        dropout: share of map channels, and of cell features, dropped in training.

    Returns:
        An uncompiled `keras.Model`; its layer `lesion_logits` gives logits [B, S / 16, S / 16, 1].
    """
    check_mil_arguments("efficientnet_mil", image_size=image_size, dropout=dropout)
    backbone = efficientnet_lite0(num_classes=num_classes, image_size=image_size, weights=weights)
    maps = [backbone.get_layer(name).output for name in MAP_LAYERS]

    # === Functional model ===
    x = layers.Concatenate(name="feature_map")(cell_features(maps))
    # The scales of the maps differ by a factor of a hundred.
    x = FusedBatchNormalization(center=False, scale=False, name="map_norm")(x)
    own = layers.GroupNormalization(  # one group per channel: instance normalisation
        -1, epsilon=EPSILON, center=False, scale=False, name="relative_map"
    )
    x = layers.Concatenate(name="seen_twice")([x, own(x)])
    x = layers.SpatialDropout2D(dropout, name="map_dropout")(x)
    x = layers.Conv2D(_WIDTH, 1, use_bias=False, name="cell_conv")(x)
    x = layers.ReLU(name="cell_relu")(FusedBatchNormalization(name="cell_norm")(x))
    x = layers.Conv2D(_WIDTH, 3, padding="same", use_bias=False, name="local_conv")(x)
    x = layers.ReLU(name="local_map")(FusedBatchNormalization(name="local_norm")(x))
    x = layers.Dropout(dropout, name="local_dropout")(x)
    evidence = layers.Conv2D(
        1,
        1,
        bias_initializer=keras.initializers.Constant(PRIOR),
        dtype="float32",
        name="lesion_logits",
    )(x)
    x = layers.Concatenate(name="features")(
        [
            layers.GlobalAveragePooling2D(name="average")(x),
            TopKMean(SHARES, name="top_k_mean")(evidence),
        ]
    )
    x = head(x, num_classes=num_classes, dropout=0.0)  # the evidence is two numbers, needed both
    return keras.Model(backbone.input, x, name="efficientnet_mil")


def check_mil_arguments(
    name: str, *, image_size: int, dropout: float, stride: int = _STRIDE
) -> None:
    """Raise ModelError when the image size or the dropout is out of range."""
    if image_size < 2 * stride or image_size % stride:
        raise ModelError(
            f"image_size must be a multiple of {stride}, at least {2 * stride}, for "
            f"{name}. Received: {image_size}"
        )
    if not 0.0 <= dropout < 1.0:
        raise ModelError(f"dropout must be at least 0 and below 1. Received: {dropout}")


def cell_features(maps: Sequence[keras.KerasTensor], suffix: str = "") -> list[keras.KerasTensor]:
    """Return maps of strides 8, 16 and 32 at stride 16; the finest one as average and maximum.

    `suffix` ends the names of the layers.
    """
    fine, middle, coarse = maps
    return [
        layers.AveragePooling2D(2, name=f"fine_average{suffix}")(fine),
        layers.MaxPooling2D(2, name=f"fine_maximum{suffix}")(fine),
        middle,
        layers.UpSampling2D(2, name=f"coarse_enlarged{suffix}")(coarse),
    ]


@keras.saving.register_keras_serializable("breastus")
class TopKMean(layers.Layer):
    """Mean evidence of the strongest cells of [B, h, w, 1], for several shares of the cells.

    Args:
        shares: shares of the cells, 0 to 1; at least one cell counts.
    """

    def __init__(self, shares, **kwargs):
        super().__init__(**kwargs)
        self.shares = tuple(float(share) for share in shares)

    def build(self, shape):
        self.built = True

    def call(self, evidence):
        cells = ops.reshape(evidence, (-1, evidence.shape[1] * evidence.shape[2]))
        counts = [max(1, round(share * cells.shape[1])) for share in self.shares]
        strongest = ops.top_k(cells, max(counts))[0]
        return ops.stack([ops.mean(strongest[:, :count], axis=1) for count in counts], axis=1)

    def compute_output_shape(self, shape):
        return shape[0], len(self.shares)

    def get_config(self):
        return {**super().get_config(), "shares": self.shares}
