"""Where a network's backbone ends, and the network in two: up to there, and from there on.

The backbone is what the layer `feature_map` is computed from, or `features` where there is no such
layer; all else is the head.
"""

import keras

from breastus.errors import ModelError

BACKBONE_ENDS = ("feature_map", "features")  # the first of them that a network has


def backbone_end(model: keras.Model) -> str | None:
    """Return the name of the layer after which the head begins, if there is one."""
    names = {layer.name for layer in model.layers}
    return next((end for end in BACKBONE_ENDS if end in names), None)


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return a network's backbone and the head upon its output, of the same layers.

    Raises:
        ModelError: when it has no layer after which the head begins.
    """
    end = backbone_end(model)
    if end is None:
        raise ModelError(
            f"A network is cut after its layer {' or '.join(BACKBONE_ENDS)}; {model.name} has none."
        )
    features = model.get_layer(end).output
    return keras.Model(model.input, features), keras.Model(features, model.output, name=model.name)
