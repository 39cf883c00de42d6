"""Learning from lesion masks as a second task: where a lump is, beside whether there is one.

A few hundred images say little of which part of them matters; their masks say it outright. The
network's layer `evidence` gives a logit for each cell of a coarse grid. One that has no such layer
gets one upon its `feature_map`, for the training alone. What is kept and exported gives
probabilities only.

    loss = loss of the probabilities + mask_weight * mean over cells of cross-entropy
"""

import keras
from keras import layers, ops

from breastus.errors import ModelError

EVIDENCE, PROBABILITIES = "evidence", "probabilities"
# Lesions cover a tenth of BUSI's images; a cell of them counts as much as so many others.
_LESION_WEIGHT = 3.0
_PRIOR = -2.0  # logit that cells start with: about that tenth


def with_evidence(model: keras.Model) -> keras.Model:
    """Return the network with a second output, of the same layers.

    Args:
        model: z-scored images to softmax probabilities, with a layer `evidence` of logits
            [B, h, w, 1], or one named `feature_map`.

    Returns:
        Images to {"probabilities": [B, classes], "evidence": float32 [B, h, w, 1]}.

    Raises:
        ModelError: when it has neither layer.
    """
    names = {layer.name for layer in model.layers}
    if EVIDENCE in names:
        evidence = model.get_layer(EVIDENCE).output
    elif "feature_map" in names:
        evidence = layers.Conv2D(
            1,
            1,
            bias_initializer=keras.initializers.Constant(_PRIOR),
            dtype="float32",
            name=EVIDENCE,
        )(model.get_layer("feature_map").output)
    else:
        raise ModelError(
            f"training.mask_weight needs a network with a layer named {EVIDENCE} or feature_map; "
            f"{model.name} has neither. Use training.mask_weight=0."
        )
    return keras.Model(
        model.input, {PROBABILITIES: model.output, EVIDENCE: evidence}, name=model.name
    )


def grid_of(model: keras.Model) -> tuple[int, int]:
    """Return height and width of the evidence of a network from `with_evidence`, in cells."""
    return tuple(model.output[EVIDENCE].shape[1:3])


@keras.saving.register_keras_serializable("breastus")
class EvidenceLoss(keras.losses.Loss):
    """Mean cross-entropy over the cells, in which those of lesions count more.

    Call arguments:
        y_true: [B, h, w, 2], share of the cell that is lesion, and the cell's weight.
        y_pred: [B, h, w, 1], logits.
    """

    def __init__(self, name: str = "evidence_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        share, weight = y_true[..., 0], y_true[..., 1]
        logit = ops.cast(y_pred[..., 0], share.dtype)
        # The stable form of -share * log(sigmoid) - (1 - share) * log(1 - sigmoid).
        surprise = ops.maximum(logit, 0.0) - logit * share + ops.log1p(ops.exp(-ops.abs(logit)))
        return ops.mean(weight * (1.0 + (_LESION_WEIGHT - 1.0) * share) * surprise, axis=(-2, -1))
