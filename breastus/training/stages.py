"""Fine-tuning in stages: first the head alone, then the whole network, with layer-wise rates.

`breastus/models/backbone.py` says what is backbone and what is head. With layer-wise learning rate
decay (ELECTRA, BEiT) the head learns at the full rate, and each group of layers before it at
`decay` times the rate of the group after it.

References:
    Clark, Luong, Le, Manning: ELECTRA. ICLR 2020, appendix B (layer-wise learning rate decay).
    Bao, Dong, Piao, Wei: BEiT: BERT Pre-Training of Image Transformers. ICLR 2022, appendix.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from breastus.config.schema import TrainingConfig
from breastus.errors import ConfigError, ModelError
from breastus.models.backbone import BACKBONE_ENDS, backbone_end, nested_layers

_GROUPS = 12  # the number of blocks of BERT-Base and BEiT-Base, for every network


@dataclass(frozen=True)
class Stage:
    """Epochs that share an optimizer."""

    first_epoch: int  # counted from 0
    end_epoch: int  # one past the last epoch
    head_only: bool  # whether all but the head is frozen


def stages_of(settings: TrainingConfig) -> list[Stage]:
    """Return the stages of a training, in order; none is empty."""
    head, epochs = settings.head_epochs, settings.epochs
    if settings.cached_views and head != epochs:
        raise ConfigError(
            "training.cached_views needs a frozen backbone: training.head_epochs must be "
            f"training.epochs ({epochs}). Received: {head}"
        )
    if head > epochs:
        raise ConfigError(
            f"training.head_epochs must be at most training.epochs ({epochs}). Received: {head}"
        )
    stages = Stage(0, head, head_only=True), Stage(head, epochs, head_only=False)
    return [stage for stage in stages if stage.first_epoch < stage.end_epoch]


class BackboneFreezer:
    """Freezes the backbone, and gives each of its layers its own flag back.

    A frozen batch norm keeps its statistics and uses them, and a step computes no gradients below
    the head.
    """

    def __init__(self, model: keras.Model):
        self._backbone = _backbone(model)
        if not self._backbone:
            raise ModelError(
                "training.head_epochs needs a network with a layer named "
                f"{' or '.join(BACKBONE_ENDS)}, after which the head begins; {model.name} has "
                "none. Use training.head_epochs=0."
            )
        # Models come before the layers within them, whose flags they set too.
        nested = [inner for layer in self._backbone for inner in nested_layers(layer)]
        self._flags = [(layer, layer.trainable) for layer in [*self._backbone, *nested]]

    def freeze(self) -> None:
        """Freeze the backbone; to be called before the model is compiled."""
        for layer in self._backbone:
            layer.trainable = False

    def release(self) -> None:
        """Undo `freeze`."""
        for layer, trainable in self._flags:
            layer.trainable = trainable

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Release the backbone while the block runs, for instance to save the network."""
        frozen = [(layer, layer.trainable) for layer, _ in self._flags]
        self.release()
        try:
            yield
        finally:
            for layer, trainable in frozen:
                layer.trainable = trainable


def rate_factors(model: keras.Model, decay: float) -> list[float] | None:
    """Return a factor on the learning rate for each trainable variable, in the model's order.

    The layers with weights before the head, in the order of computation, are divided into twelve
    groups of nearly equal size. The last group has the factor `decay`, the first one `decay` to the
    power of twelve. A decay of 1 gives None.
    """
    if decay == 1.0:
        return None
    # Without a layer of that name, the head is the last layer.
    backbone = _backbone(model) or model.layers[:-1]
    leaves = [leaf for layer in backbone for leaf in nested_layers(layer) if leaf.weights]
    factors = {}
    for position, leaf in enumerate(leaves):
        group = position * _GROUPS // len(leaves)
        for variable in leaf.weights:
            # A layer that is used twice counts where it is used first.
            factors.setdefault(id(variable), decay ** (_GROUPS - group))
    return [factors.get(id(variable), 1.0) for variable in model.trainable_variables]


def _backbone(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of the backbone in the order of computation; none if it has no end."""
    end = backbone_end(model)
    return keras.Model(model.inputs, model.get_layer(end).output).layers if end is not None else []
