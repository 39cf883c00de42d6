"""Lesion maps: a network and its input in, the place where it sees a lump out.

    maps = lesion_map(network, images)      # z-scored [B, S, S, 3] to float32 [B, S, S], 0 to 1

`lesion_logits`  the network's own logits of cells, as probabilities: from 0.5 on, a cell is more
                 likely lesion than not
`grad_cam`       for other networks: Grad-CAM on the log odds of lump, as a share of the largest
                 value of the image. Probabilities would not do: near 0 and 1 they have no gradient

The map of an ensemble is the mean over its networks. `occlusion_map` needs neither of the two.

References:
    Selvaraju et al.: Grad-CAM: Visual explanations from deep networks via gradient-based
    localization. ICCV 2017.
    Zeiler, Fergus: Visualizing and understanding convolutional networks. ECCV 2014 (occlusion).
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from breastus.errors import ModelError
from breastus.labels import LUMP
from breastus.training.lesion_head import LESION_LOGITS, PROBABILITIES

GRAD_CAM = "grad_cam"
_BATCH = 8  # images computed at a time
_STEPS = 10  # occluding squares are two strides wide, and a stride is this part of the image; ours
_TINY = 1e-12  # smallest probability before its logarithm is taken


class LesionMapper:
    """Lesion maps of one network, whose weights may change between calls.

    Args:
        network: softmax probabilities [B, classes] of images [B, S, S, 3], or an ensemble of such
            networks, as a bundle holds it (loaded from a file).

    Attributes:
        method: "lesion_logits" or "grad_cam".
        side: S in pixels.

    Raises:
        ModelError: if the network has no feature map.
    """

    def __init__(self, network: keras.Model):
        self.side = int(network.input_shape[1])
        self._before, members = _members(network)
        self._members = [_Member(member) for member in members]
        self.method = self._members[0].method

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the lesion maps of images, z-scored [B, S, S, 3]: float32 [B, S, S], 0 to 1."""
        return self._batches(images, lambda member, inputs: member.map(inputs, self.side))

    def log_odds(self, images: np.ndarray) -> np.ndarray:
        """Return the log odds of lump, before calibration, float32 [B]."""
        return self._batches(images, lambda member, inputs: member.log_odds(inputs))

    def _batches(self, images: np.ndarray, compute: Callable) -> np.ndarray:
        """Return the mean over the members of `compute(member, input of the member)`."""
        found = []
        for start in range(0, len(images), _BATCH):
            batch = tf.convert_to_tensor(images[start : start + _BATCH], tf.float32)
            inputs = self._before(batch)
            found.append(np.mean([compute(one, inputs).numpy() for one in self._members], axis=0))
        return np.concatenate(found).astype(np.float32)


def lesion_map(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return where a network sees a lump.

    Args:
        network: see `LesionMapper`, which is faster for several calls.
        images: input of the network, z-scored float32 [B, S, S, 3].

    Returns:
        float32 [B, S, S], 0 to 1, in the frame of the transformed image;
        `breastus.explain.geometry` leads back to the pixels of the original one.
    """
    return LesionMapper(network)(images)


def occlusion_map(mapper: LesionMapper, image: np.ndarray) -> np.ndarray:
    """Return how much the log odds of lump fall when a part of the image is hidden.

    Squares of a fifth of the side, in the mean colour of the image, hide one place after the other:
    81 predictions. A pixel has the mean fall of the squares that hide it.

    Args:
        mapper: the network.
        image: input of the network, z-scored float32 [S, S, 3].

    Returns:
        float32 [S, S], 0 to 1: the fall as a share of the largest one, 0 where the odds rise.
    """
    side = len(image)
    edges = np.linspace(0, side, _STEPS + 1).round().astype(int)
    squares = [
        (slice(edges[row], edges[row + 2]), slice(edges[column], edges[column + 2]))
        for row in range(_STEPS - 1)
        for column in range(_STEPS - 1)
    ]
    color, before = image.mean(axis=(0, 1)), mapper.log_odds(image[None])[0]
    falls, count = np.zeros((2, side, side))
    for start in range(0, len(squares), _BATCH):
        some = squares[start : start + _BATCH]
        hidden = np.repeat(image[None], len(some), axis=0)
        for number, square in enumerate(some):
            hidden[(number, *square)] = color
        for square, odds in zip(some, mapper.log_odds(hidden), strict=True):
            falls[square] += before - odds
            count[square] += 1
    falls = np.maximum(falls / count, 0.0)
    return (falls / (falls.max() or 1.0)).astype(np.float32)


class _Member:
    """One network of an ensemble, or a network alone."""

    def __init__(self, model: keras.Model):
        names = {layer.name for layer in model.layers}
        self.method = LESION_LOGITS if LESION_LOGITS in names else GRAD_CAM
        found = model.get_layer(LESION_LOGITS).output if LESION_LOGITS in names else last_map(model)
        last = model.get_layer(PROBABILITIES) if PROBABILITIES in names else None
        softmax = getattr(last, "activation", None) is keras.activations.softmax
        # Logits come from the last layer without its softmax, if that is how the network ends.
        self._last = last if isinstance(last, keras.layers.Dense) and softmax else None
        self._model = keras.Model(model.input, [found, last.input if self._last else model.output])
        # As graphs, large networks are several times faster. Weights are still read in each call.
        cells = self._own_cells if self.method == LESION_LOGITS else self._grad_cam
        self._cells = tf.function(cells, autograph=False, reduce_retracing=True)
        self._odds = tf.function(
            lambda inputs: self._map_and_odds(inputs)[1], autograph=False, reduce_retracing=True
        )

    def map(self, inputs: tf.Tensor, side: int) -> tf.Tensor:
        """Return the lesion maps, float32 [B, side, side]."""
        return tf.image.resize(self._cells(inputs)[..., None], [side, side])[..., 0]

    def log_odds(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the log odds of lump, float32 [B]."""
        return self._odds(inputs)

    def _map_and_odds(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the map [B, h, w, C], and the log odds of lump, float32 [B]."""
        found, end = self._model(inputs, training=False)
        if self._last is None:
            logits = tf.math.log(tf.maximum(tf.cast(end, tf.float32), _TINY))
        else:
            logits = tf.cast(end, tf.float32) @ tf.convert_to_tensor(self._last.kernel)
            if self._last.use_bias:
                logits += tf.convert_to_tensor(self._last.bias)
        # Of three findings the last two are lumps.
        return found, tf.reduce_logsumexp(logits[:, LUMP:], axis=1) - logits[:, 0]

    def _own_cells(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(tf.cast(self._model(inputs, training=False)[0][..., 0], tf.float32))

    def _grad_cam(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            maps, odds = self._map_and_odds(inputs)
        gradients = tf.cast(tape.gradient(odds, maps), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        found = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))
        return tf.math.divide_no_nan(found, tf.reduce_max(found, axis=(1, 2), keepdims=True))


def _members(network: keras.Model) -> tuple[Callable, list[keras.Model]]:
    """Return what precedes the networks of an ensemble, and these; a network alone is its own."""
    names = {layer.name: layer for layer in network.layers}
    members = [layer for name, layer in names.items() if name.startswith("member_")]
    if not members:
        return (lambda images: images), [network]
    backbone = names.get("backbone")
    return (lambda images: backbone(images) if backbone else images), members


def last_map(model: keras.Model) -> keras.KerasTensor:
    """Return the last feature map of a network, [B, h, w, C]; of a Swin these are its tokens.

    It is the layer `feature_map`, or what the last layer takes that takes a map.

    Raises:
        ModelError: if the network has no such map.
    """
    for layer in reversed(model.layers):
        if layer.name == "feature_map":
            return layer.output
    for layer in reversed(model.layers):
        taken = None if isinstance(layer, keras.Model) else layer.input
        if len(getattr(taken, "shape", ())) == 4:
            return taken
    raise ModelError(f"{model.name} has no feature map [B, h, w, C], so that it has no lesion map.")
