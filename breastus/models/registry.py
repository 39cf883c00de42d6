"""The registry of networks: `register_model`, `list_models` and `build_model`.

Every network takes z-scored images, float32 [B, H, W, 3], and returns softmax probabilities,
float32 [B, classes]. Each network is one file that registers its builder; `_MODULES` lists them.
A builder raises a ModelError if it cannot take the image size or the dropout, and a WeightsError if
its weights are missing or do not fit.

Every network ends with layers named `features`, `dropout` and `probabilities`. The last two are the
head, which every training initialises. `feature_map` is the map from which `features` is pooled.
"""

import importlib
import inspect
import os
import random
import warnings
from collections.abc import Callable
from typing import NamedTuple

import keras

from breastus.errors import ModelError, PretrainedWeightsWarning, WeightsError, did_you_mean
from breastus.models.weights.backbone_folder import PRETRAINED_FILE, is_pretrained, load_pretrained

_MODULES = (
    "breastus.models.cnn",
    "breastus.models.compact",
    "breastus.models.efficientnet.efficientnet_cells",
    "breastus.models.efficientnet.efficientnet_lite0",
    "breastus.models.efficientnet.efficientnet_mil",
    "breastus.models.hybrid",
    "breastus.models.resnet50",
    "breastus.models.swin.swin",
    "breastus.models.vgg16",
)
_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


class ResolvedWeights(NamedTuple):
    """Resolved `weights`: the value for `build_model`, and why "auto" became None, else ""."""

    weights: str | None
    reason: str


def register_model(name: str) -> Callable[[Callable], Callable]:
    """Register a builder `f(*, num_classes, image_size, ...) -> keras.Model` under a name.

    The networks of breastus have their names first, so that a builder from elsewhere is refused
    whether or not they were listed before.

    Raises:
        ModelError: when the name is taken.
    """

    def register(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        if getattr(builder, "__module__", None) not in _MODULES:
            _import_builders()
        if name in _BUILDERS:
            raise ModelError(f"A model named {name} is registered already; choose another name.")
        _BUILDERS[name] = builder
        return builder

    return register


def list_models() -> list[str]:
    """Return the names that `build_model` takes."""
    _import_builders()
    return sorted(_BUILDERS)


def check_model(name: str) -> None:
    """Raise ModelError when there is no model of this name, before any long work starts."""
    if name not in list_models():
        raise ModelError(
            f"name must be one of {', '.join(list_models())}.{did_you_mean(name, _BUILDERS)} "
            f"Received: {name!r}"
        )


def build_model(
    name: str,
    *,
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | os.PathLike | None = None,
    **options,
) -> keras.Model:
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        num_classes: number of classes, at least 2.
        image_size: side of the square input in pixels.
        weights: None for random ones; a folder as `breastus.pretrain` writes it, which any network
            takes; or another value of the network, such as "imagenet". The head is always new.
            Weights that cannot be loaded are an error; only "auto" falls back to random ones (see
            `resolve_weights`).
        **options: further arguments of the model, such as `dropout`.

    Returns:
        An uncompiled `keras.Model`: z-scored images [B, image_size, image_size, 3] to softmax
        probabilities [B, num_classes], float32.

    Raises:
        ModelError: when the name or an option is unknown, or the network cannot take the size.
        WeightsError: when the weights are missing, unknown or do not fit.

    Examples:
        >>> build_model("cnn").count_params()
        266306
    """
    _check_numbers(name, num_classes, image_size)
    builder = _BUILDERS[name]
    parameters = set(inspect.signature(builder).parameters)
    known = parameters - {"num_classes", "image_size", "weights"}
    if unknown := sorted(set(options) - known):
        raise ModelError(
            f"{name} takes the options {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
        )
    if weights == "auto":
        weights, _ = resolve_weights(name, image_size=image_size, weights=weights)
    ours = is_pretrained(weights)
    if weights is not None and not ours:
        if "weights" not in parameters:
            raise WeightsError(
                f"There are no pretrained weights for {name} but one's own: weights must be None, "
                f"or a folder made by `breastus pretrain {name}`, which holds {PRETRAINED_FILE}. "
                f"Received: {weights!r}"
            )
        options["weights"] = weights
    model = builder(num_classes=num_classes, image_size=image_size, **options)
    if ours:
        load_pretrained(model, weights, network=name)
    return model


def resolve_weights(name: str, *, image_size: int, weights: str | None) -> ResolvedWeights:
    """Resolve `weights="auto"`; any other value is returned unchanged.

    "auto" becomes "imagenet" if the network has ImageNet weights and they can be loaded, which is
    determined by loading them, and None otherwise. Keras' random state is restored, so that a
    training with "auto" equals one with the resolved value.

    Warns:
        PretrainedWeightsWarning: when the ImageNet weights of the network could not be loaded.

    Examples:
        >>> resolve_weights("cnn", image_size=224, weights="auto")
        ResolvedWeights(weights=None, reason='There are no pretrained weights for cnn.')
    """
    _check_numbers(name, 2, image_size)
    if weights != "auto":
        return ResolvedWeights(weights, "")
    if "weights" not in inspect.signature(_BUILDERS[name]).parameters:
        return ResolvedWeights(None, f"There are no pretrained weights for {name}.")
    state = random.getstate()  # Keras draws the seeds of its initializers from Python's generator
    try:
        _BUILDERS[name](num_classes=2, image_size=image_size, weights="imagenet")
    except WeightsError as error:
        warnings.warn(
            f"{name} starts with random weights, as weights=auto found no ImageNet ones: {error}",
            PretrainedWeightsWarning,
            stacklevel=2,
        )
        return ResolvedWeights(None, str(error))
    finally:
        random.setstate(state)
    return ResolvedWeights("imagenet", "")


def _check_numbers(name: str, num_classes: int, image_size: int) -> None:
    check_model(name)
    for argument, value, low in (("num_classes", num_classes, 2), ("image_size", image_size, 1)):
        if not isinstance(value, int) or value < low:
            raise ModelError(f"{argument} must be a whole number >= {low}. Received: {value!r}")


def _import_builders() -> None:
    for module in _MODULES:
        importlib.import_module(module)
