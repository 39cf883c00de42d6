"""Moving statistics of batch norms, computed again: a network and images in, new statistics in it.

Pretraining on images with hidden patches leaves their statistics in the network, and whole images
have others.
"""

from collections.abc import Iterable

import keras
import tensorflow as tf

from breastus.models.backbone import nested_layers


def recompute_batchnorm(model: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Set the moving statistics of batch norms to their mean over some batches.

    Args:
        model: any network; one without batch norms is not changed.
        batches: model input, float32 [B, S, S, 3], each with the same weight. No batches change
            nothing.
    """
    norms = [x for x in nested_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    if not norms:
        return
    momentums = [layer.momentum for layer in norms]
    try:
        for number, images in enumerate(batches):
            for layer in norms:
                layer.momentum = number / (number + 1)  # the mean of all batches so far
            # Not as a graph, which would keep the momentum it was traced with.
            model(images, training=True)
    finally:
        for layer, momentum in zip(norms, momentums, strict=True):
            layer.momentum = momentum
