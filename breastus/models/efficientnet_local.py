"""EfficientNet-Lite0 that also looks cell by cell: z-scored images in, softmax probabilities out.

A lump covers a few per cent of an image, and the mean over a map hides it. Beside the pooled map of
EfficientNet-Lite0, this network therefore asks each cell of 16 x 16 pixels for evidence of a lump,
from the map of that stride and the coarser one joined from above (Lin et al., Feature Pyramid
Networks, CVPR 2017), and hands the strongest evidence, and what the map holds where it is, to the
head. Lesion masks can teach the cells (`training.mask_weight`); without them they learn from the
labels alone, as in multiple-instance learning.
"""

import keras
from keras import layers, ops

from breastus.errors import ModelError
from breastus.models.batch_norm import BatchNormalization
from breastus.models.efficientnet_lite0 import efficientnet_lite0
from breastus.models.head import head
from breastus.models.registry import register_model

_FINE, _COARSE = "block_10_add", "block_15_project_norm"  # strides 16 and 32
_STRIDE = 32
_WIDTH = 96  # channels of the joined map
_PRIOR = -2.0  # logit that cells start with: a lump covers about a tenth of an image
_SHARES = (0.0, 0.01, 0.05)  # of the cells whose mean evidence the head sees; 0: the strongest one


@register_model("efficientnet_local")
def efficientnet_local(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.3
) -> keras.Model:
    """Build the network; 3.7 million parameters.

    Args:
        num_classes: width of the softmax.
        image_size: side of the input in pixels, a multiple of 32, at least 64.
        weights: of the backbone: None, "imagenet" or a `.pth` file, as of `efficientnet_lite0`.
        dropout: share of the features dropped in training.

    Returns:
        An uncompiled `keras.Model`; its layer `evidence` gives logits [B, S / 16, S / 16, 1].

    Raises:
        ModelError: when the image size or the dropout cannot be.
        WeightsError: when the weights are not there or do not fit.
    """
    if image_size < 2 * _STRIDE or image_size % _STRIDE:
        raise ModelError(
            f"image_size must be a multiple of {_STRIDE}, at least {2 * _STRIDE}, for "
            f"efficientnet_local. Received: {image_size}"
        )
    backbone = efficientnet_lite0(num_classes=num_classes, image_size=image_size, weights=weights)

    # === Functional model ===
    coarse = layers.Conv2D(_WIDTH, 1, use_bias=False, name="coarse_conv")(
        backbone.get_layer(_COARSE).output
    )
    fine = layers.Conv2D(_WIDTH, 1, use_bias=False, name="fine_conv")(
        backbone.get_layer(_FINE).output
    )
    x = layers.Add(name="join")([fine, layers.UpSampling2D(2, name="enlarge")(coarse)])
    x = layers.ReLU(name="join_relu")(BatchNormalization(name="join_norm")(x))
    x = layers.Conv2D(_WIDTH, 3, padding="same", use_bias=False, name="local_conv")(x)
    local = layers.ReLU(name="local_map")(BatchNormalization(name="local_norm")(x))
    evidence = layers.Conv2D(
        1, 1, bias_initializer=keras.initializers.Constant(_PRIOR), dtype="float32", name="evidence"
    )(local)
    x = layers.Concatenate(name="features")(
        [
            layers.GlobalAveragePooling2D(name="average")(backbone.get_layer("feature_map").output),
            WhereEvidence(name="where_evidence")([local, evidence]),
            StrongestEvidence(_SHARES, name="strongest_evidence")(evidence),
        ]
    )
    x = head(x, num_classes=num_classes, dropout=dropout)
    return keras.Model(backbone.input, x, name="efficientnet_local")


@keras.saving.register_keras_serializable("breastus")
class WhereEvidence(layers.Layer):
    """Mean of a map [B, h, w, C] over its cells, weighted by the sigmoid of their evidence."""

    def build(self, shapes):
        self.built = True

    def call(self, inputs):
        local, evidence = inputs
        weight = ops.cast(ops.sigmoid(evidence), local.dtype)
        total = ops.sum(weight, axis=(1, 2))
        return ops.sum(local * weight, axis=(1, 2)) / ops.maximum(total, 1e-3)

    def compute_output_shape(self, shapes):
        return shapes[0][0], shapes[0][-1]


@keras.saving.register_keras_serializable("breastus")
class StrongestEvidence(layers.Layer):
    """Mean evidence of the strongest cells of [B, h, w, 1], for several shares of the cells.

    Args:
        shares: of the cells, 0 to 1; at least one cell counts.
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
