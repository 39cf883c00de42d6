"""Several networks as one: their logits averaged, z-scored images in, softmax probabilities out."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from breastus.errors import ModelError

_TINY = 1e-12  # probabilities are kept off zero before their logarithm is taken


def ensemble(models: Sequence[keras.Model]) -> keras.Model:
    """Return a network whose probabilities are the mean of several networks', taken as logits.

    Args:
        models: networks of one input and one number of classes; their layers are shared, not
            copied.

    Raises:
        ModelError: without models, or when they differ in input or output.
    """
    if not models:
        raise ModelError("An ensemble must have at least one network. Received: none")
    for what in ("input_shape", "output_shape"):
        if len(shapes := {getattr(model, what) for model in models}) > 1:
            raise ModelError(
                f"The networks of an ensemble must have one {what.replace('_', ' ')}. "
                f"Received: {', '.join(map(str, sorted(shapes, key=str)))}"
            )
    image = keras.Input(models[0].input_shape[1:], name="image")
    for number, model in enumerate(models):
        model.name = f"member_{number}"  # each layer needs a name of its own
    said = [model(image) for model in models]
    return keras.Model(image, MeanOfLogits(name="probabilities")(said), name="ensemble")


@keras.saving.register_keras_serializable("breastus")
class MeanOfLogits(layers.Layer):
    """Softmax of the mean of several networks' logarithms of probabilities, each [B, classes]."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, shapes):
        self.built = True

    def call(self, said):
        logs = [ops.log(ops.maximum(one, _TINY)) for one in said]
        return ops.softmax(ops.mean(ops.stack(logs), axis=0), axis=-1)

    def compute_output_shape(self, shapes):
        return shapes[0]
