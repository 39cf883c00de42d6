"""A KerasHub backbone with weights from a preset, and the head that turns it into a network.

KerasHub is imported only when one of its networks is built, as that takes seconds.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from keras import layers

from breastus.errors import ModelError, WeightsError
from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization
from breastus.models.layers.head import head

SMALLEST = 32  # pixels; the networks halve the image five times


def remedies(source) -> str:
    """Return advice for weights that cannot be used."""
    what = (
        "check the network or HF_ENDPOINT and try again"
        if "://" in str(source)
        else "delete them and fetch them again"
    )
    return (
        f"You can {what}; name a folder with other weights (weights=FOLDER); use "
        "efficientnet_lite0, whose weights need no hub; or train from scratch (weights=None)."
    )


def load_preset(backbone: type, preset: str) -> keras.Model:
    """Return a KerasHub backbone with a preset's weights, all of them or none.

    `preset` is a name of KerasHub's, a handle such as `hf://...` or `kaggle://...`, or a folder.
    """
    known = preset in backbone.presets or "://" in preset
    if not known and not Path(preset).is_dir():
        raise WeightsError(
            "weights must be auto, imagenet, a handle that starts with hf:// or kaggle://, or a "
            f"folder. Received: {preset!r}, which does not exist"
        )
    try:
        with _emptied_first(backbone):
            loaded = backbone.from_preset(preset)
    # A hub out of reach shows as anything from ConnectionError to ValueError.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        # A preset's name is fetched from a hub, as a handle is.
        way = remedies(preset if Path(preset).is_dir() else f"hub://{preset}")
        raise WeightsError(f"The weights {preset} could not be loaded: {reason} {way}") from error
    for variable in loaded.weights:
        if not np.isfinite(variable.numpy()).all():
            raise WeightsError(
                f"The weights {preset} are not whole: {variable.path} is missing or not finite. "
                f"{remedies(preset)}"
            )
    return loaded


@contextlib.contextmanager
def _emptied_first(backbone: type) -> Iterator[None]:
    """Set a backbone's variables to NaN before a file is loaded, so that what it lacks shows.

    Keras only warns about a missing group of layers, and leaves their random values.
    """
    load = backbone.load_weights

    def load_weights(self, *args, **kwargs):
        for variable in self.weights:
            variable.assign(np.full(variable.shape, np.nan, "float32"))
        return load(self, *args, **kwargs)

    backbone.load_weights = load_weights
    try:
        yield
    finally:
        del backbone.load_weights  # Keras' own shows again


def classifier(
    make_backbone: Callable[[tuple[int, int, int]], keras.Model],
    *,
    name: str,
    num_classes: int,
    image_size: int,
    weights: str | None,
    imagenet: str,
    dropout: float,
) -> keras.Model:
    """Return backbone, global average pooling, dropout and softmax as one network.

    Args:
        make_backbone: (H, W, 3) to a KerasHub backbone of feature maps [B, h, w, C].
        image_size: side of the input in pixels, at least 32.
        weights: None, "imagenet", or as for `load_preset`.
        imagenet: name of the preset behind "imagenet".
        dropout: share of the pooled features dropped in training.
    """
    if image_size < SMALLEST:
        raise ModelError(
            f"image_size must be at least {SMALLEST} for {name}. Received: {image_size}"
        )

    backbone = make_backbone((image_size, image_size, 3))
    if weights is not None:
        preset = imagenet if weights == "imagenet" else weights
        backbone = _pretrained(backbone, preset, image_size)
    backbone = _with_fast_norms(backbone)

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Identity(name="feature_map")(backbone(image))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    return keras.Model(image, x, name=name)


def needs_keras_hub(model: keras.Model) -> bool:
    """Return whether KerasHub was loaded to build a network; it then stays in memory."""
    return any(
        type(layer).__module__.startswith("keras_hub")
        or getattr(layer, "made_by_keras_hub", False)  # of layers that are all Keras' own
        for layer in model._flatten_layers()
    )


def _pretrained(backbone: keras.Model, preset: str, image_size: int) -> keras.Model:
    """Return a backbone like the one given, with a preset's weights and its way to use them."""
    loaded = load_preset(type(backbone), preset)
    theirs = [tuple(variable.shape) for variable in loaded.weights]
    if theirs != [tuple(variable.shape) for variable in backbone.weights]:
        raise WeightsError(
            f"The weights {preset} are of another network: {loaded.count_params():,} "
            f"parameters, where {backbone.count_params():,} are needed. {remedies(preset)}"
        )
    # Padding, epsilon and activation have no weights to tell them by: they are the preset's.
    config = loaded.get_config()
    shape = "image_shape" if "image_shape" in config else "input_shape"
    built = type(loaded).from_config({**config, shape: (image_size, image_size, 3)})
    built.set_weights(loaded.get_weights())
    return built


def _with_fast_norms(backbone: keras.Model) -> keras.Model:
    """Return a copy with our batch norms for Keras', where nothing but Keras' layers are around.

    Layers of KerasHub's own hold their norms inside, out of reach; they stay as they are.
    """
    kinds = {type(layer) for layer in backbone.layers}
    theirs = any(kind.__module__.startswith("keras_hub") for kind in kinds)
    if theirs or layers.BatchNormalization not in kinds:
        return backbone

    def copy(layer: keras.Layer) -> keras.Layer:
        kind = type(layer)
        kind = FusedBatchNormalization if kind is layers.BatchNormalization else kind
        return kind.from_config(layer.get_config())

    fast = keras.models.clone_model(backbone, clone_function=copy)
    fast.set_weights(backbone.get_weights())
    fast.made_by_keras_hub = True
    return fast
