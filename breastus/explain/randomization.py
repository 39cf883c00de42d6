"""The sanity check of lesion maps: do they change when the network forgets what it has learned?

A method whose maps stay the same draws edges of the image, not what the network knows. From the top
down, more and more layers get the initial weights of an untrained network of the same kind
(cascading randomisation: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018).
"""

import random
from typing import NamedTuple

import keras
import numpy as np

from breastus.evaluation.localization import rank_correlation
from breastus.explain.lesion_map import LesionMapper
from breastus.models.backbone import nested_layers
from breastus.training.lesion_head import LESION_LOGITS

_SHARES = (0.0, 0.25, 0.5, 1.0)  # of the layers; at least one
_COMPARED = 56  # pixels a side of the maps that are compared


class Randomized(NamedTuple):
    """Maps after some layers were randomised."""

    layers: int  # number of randomised layers, from the top
    of: int  # number of layers with weights that the maps depend on
    correlation: float  # mean rank correlation with the maps of the trained network, -1 to 1


def randomization_check(network: keras.Model, images: np.ndarray, *, seed: int) -> list[Randomized]:
    """Return how much the lesion maps of images stay the same, step by step.

    Args:
        network: a trained network, whose weights are restored in the end.
        images: its input, z-scored float32 [B, S, S, 3].
        seed: seed of the initial weights.
    """
    mapper = LesionMapper(network)
    before = _small(mapper(images))
    trained = network.get_weights()
    untrained = _untrained(network, seed)
    pairs = list(zip(nested_layers(network), nested_layers(untrained), strict=True))
    names = [layer.name for layer, _ in pairs]
    if LESION_LOGITS in names:  # no map depends on what follows
        pairs = pairs[: names.index(LESION_LOGITS) + 1]
    pairs = [pair for pair in reversed(pairs) if pair[0].weights]
    found, done = [], 0
    try:
        for share in _SHARES:
            count = max(1, round(share * len(pairs)))
            for layer, fresh in pairs[done:count]:
                layer.set_weights(fresh.get_weights())
            done = count
            after = _small(mapper(images))
            values = [rank_correlation(*both) for both in zip(before, after, strict=True)]
            found.append(Randomized(count, len(pairs), float(np.mean(values))))
    finally:
        network.set_weights(trained)
    return found


def _untrained(network: keras.Model, seed: int) -> keras.Model:
    """Return a copy with initial weights of its own."""
    state = random.getstate()  # Keras draws the seeds of its initializers from Python's generator
    random.seed(seed)
    try:
        return keras.models.clone_model(network)
    finally:
        random.setstate(state)


def _small(maps: np.ndarray) -> np.ndarray:
    step = max(1, maps.shape[1] // _COMPARED)
    return maps[:, step // 2 :: step, step // 2 :: step]
