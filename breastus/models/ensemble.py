"""Several networks as one: their logits averaged, z-scored images in, softmax probabilities out.

Folds or seeds trained on a frozen pretrained backbone share it. It is then in the
ensemble once, computed once an image, with their heads upon it.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from breastus.errors import ModelError
from breastus.models.backbone import backbone_end, split_backbone_head

_TINY = 1e-12  # probabilities are kept off zero before their logarithm is taken


def ensemble(models: Sequence[keras.Model]) -> keras.Model:
    """Return a network whose logits are the mean of several networks'; their layers are shared."""
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
    members = _with_one_backbone(models, image) or [model(image) for model in models]
    return keras.Model(image, MeanOfLogits(name="probabilities")(members), name="ensemble")


def _with_one_backbone(models: Sequence[keras.Model], image: keras.KerasTensor) -> list:
    """Return the output of each network if they have equal backbones, else nothing."""
    if len(models) < 2 or not all(backbone_end(model) for model in models):
        return []
    backbones, heads = zip(*map(split_backbone_head, models), strict=True)
    if not all(_equal(backbones[0], other) for other in backbones[1:]):
        return []
    backbones[0].name = "backbone"
    features = backbones[0](image)
    return [head(features) for head in heads]


def _equal(one: keras.Model, other: keras.Model) -> bool:
    structures = [{**model.get_config(), "name": ""} for model in (one, other)]
    # Most differ in a first weight, so that nothing more is compared.
    return structures[0] == structures[1] and all(
        np.array_equal(mine, theirs)
        for mine, theirs in zip(one.weights, other.weights, strict=True)
    )


@keras.saving.register_keras_serializable("breastus")
class MeanOfLogits(layers.Layer):
    """Softmax of the mean of several networks' logarithms of probabilities, each [B, classes]."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, shapes):
        self.built = True

    def call(self, probabilities):
        logs = [ops.log(ops.maximum(one, _TINY)) for one in probabilities]
        return ops.softmax(ops.mean(ops.stack(logs), axis=0), axis=-1)

    def compute_output_shape(self, shapes):
        return shapes[0]
