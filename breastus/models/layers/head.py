"""The head of every network: pooled features in, softmax probabilities out."""

from keras import layers

from breastus.errors import ModelError


def head(features, *, num_classes: int, dropout: float, kernel_initializer="glorot_uniform"):
    """Return the probabilities [B, num_classes], float32, for the output [B, C] of `features`."""
    if not 0.0 <= dropout < 1.0:
        raise ModelError(f"dropout must be at least 0 and below 1. Received: {dropout}")
    x = layers.Dropout(dropout, name="dropout")(features)
    # float32 whatever the precision policy: a half-precision softmax costs calibration.
    return layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=kernel_initializer,
        dtype="float32",
        name="probabilities",
    )(x)
