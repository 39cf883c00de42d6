"""Moving statistics of batch norms, found anew: a network and images in, its averages replaced.

A network that was trained on images with hidden patches has the averages of such images; those of
whole images differ.
"""

from collections.abc import Iterable

import keras
import tensorflow as tf


def recompute_batchnorm(model: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Let batch norms have the mean of what they see in some batches, each counting alike.

    Args:
        model: any; without batch norms nothing is done.
        batches: model input, float32 [B, S, S, 3]. No batches change nothing.
    """
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not norms:
        return
    kept = [layer.momentum for layer in norms]
    try:
        for number, images in enumerate(batches):
            for layer in norms:
                layer.momentum = number / (number + 1)  # the mean of what came so far
            # Not as a graph, in which a momentum would stay what it was when that was built.
            model(images, training=True)
    finally:
        for layer, momentum in zip(norms, kept, strict=True):
            layer.momentum = momentum
