"""Split a network into its backbone and its head.

The backbone ends with the layer `feature_map`, or with `features` in a network without that layer.
The head is everything after it.
"""

from collections.abc import Iterator

import keras

from breastus.errors import ModelError

BACKBONE_ENDS = ("feature_map", "features")  # the first of these that a network has


def backbone_end(model: keras.Model) -> str | None:
    """Return the name of the last layer of the backbone, or None for a network without one."""
    names = {layer.name for layer in model.layers}
    return next((end for end in BACKBONE_ENDS if end in names), None)


def split_backbone_head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the backbone and the head of a network as two models that share its layers."""
    end = backbone_end(model)
    if end is None:
        raise ModelError(
            f"A backbone ends with the layer {' or '.join(BACKBONE_ENDS)}. "
            f"Received: {model.name}, which has neither"
        )
    features = model.get_layer(end).output
    return keras.Model(model.input, features), keras.Model(features, model.output, name=model.name)


def nested_layers(model: keras.Layer) -> Iterator[keras.Layer]:
    """Yield the layers of a model, and of models within it, in the order of computation.

    A layer that is not a model yields itself.
    """
    if not isinstance(model, keras.Model):
        yield model
        return
    for layer in model.layers:
        yield from nested_layers(layer)
