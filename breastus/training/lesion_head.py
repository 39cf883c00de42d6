"""A second task of a network: learn from lesion masks where a lump is.

The layer `lesion_logits` of a network gives one logit for each cell of a coarse grid. A network
without this layer gets one on top of its `feature_map`, for the training only: the network that is
saved and exported returns probabilities alone.

    loss = loss of the probabilities + mask_weight * mean cross-entropy of the cells
"""

import keras
from keras import layers, ops

from breastus.errors import ModelError

LESION_LOGITS, PROBABILITIES = "lesion_logits", "probabilities"
# Lesions cover a tenth of the pixels of BUSI, so one of their cells counts as three others.
_LESION_WEIGHT = 3.0
_INITIAL_LOGIT = -2.0  # about that tenth


def add_lesion_head(model: keras.Model) -> keras.Model:
    """Return the network with lesion logits as a second output; the layers are shared.

    The model maps images to {"probabilities": [B, classes], "lesion_logits": float32 [B, h, w, 1]}.
    """
    names = {layer.name for layer in model.layers}
    if LESION_LOGITS in names:
        logits = model.get_layer(LESION_LOGITS).output
    elif "feature_map" in names:
        logits = layers.Conv2D(
            1,
            1,
            bias_initializer=keras.initializers.Constant(_INITIAL_LOGIT),
            dtype="float32",
            name=LESION_LOGITS,
        )(model.get_layer("feature_map").output)
    else:
        raise ModelError(
            f"training.mask_weight needs a network with a layer named {LESION_LOGITS} or "
            f"feature_map, and {model.name} has neither. Use training.mask_weight=0."
        )
    return keras.Model(
        model.input, {PROBABILITIES: model.output, LESION_LOGITS: logits}, name=model.name
    )


def lesion_grid(model: keras.Model) -> tuple[int, int]:
    """Return height and width, in cells, of the lesion logits of a model from `add_lesion_head`."""
    return tuple(model.output[LESION_LOGITS].shape[1:3])


@keras.saving.register_keras_serializable("breastus")
class LesionMaskLoss(keras.losses.Loss):
    """Mean cross-entropy over the cells; cells of lesions have a larger weight.

    Call arguments:
        y_true: [B, h, w, 2], share of the cell that is lesion, and weight of the cell.
        y_pred: [B, h, w, 1], logits.
    """

    def __init__(self, name: str = "lesion_mask_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        share, weight = y_true[..., 0], y_true[..., 1]
        logit = ops.cast(y_pred[..., 0], share.dtype)
        # The stable form of -share * log(sigmoid) - (1 - share) * log(1 - sigmoid).
        cross_entropy = (
            ops.maximum(logit, 0.0) - logit * share + ops.log1p(ops.exp(-ops.abs(logit)))
        )
        weight = weight * (1.0 + (_LESION_WEIGHT - 1.0) * share)
        return ops.mean(weight * cross_entropy, axis=(-2, -1))
