"""Networks by name: `register_model` puts them in, `build_model` and `list_models` take them out.

Every network takes z-scored images, float32 [B, H, W, 3], and returns softmax probabilities,
float32 [B, classes]. A model's file registers itself when it is imported; `_MODULES` says which.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable

import keras

from breastus.errors import ModelError

_MODULES = (
    "breastus.models.cnn",
    "breastus.models.compact",
    "breastus.models.efficientnet_lite0",
    "breastus.models.resnet50",
    "breastus.models.swin",
    "breastus.models.vgg16",
)
_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


def register_model(name: str) -> Callable[[Callable], Callable]:
    """Register a builder `f(*, num_classes, image_size, ...) -> keras.Model` under a name.

    Raises:
        ModelError: when the name is taken.
    """

    def register(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
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
        near = difflib.get_close_matches(str(name), _BUILDERS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ModelError(
            f"name must be one of {', '.join(list_models())}. {hint}Received: {name!r}"
        )


def build_model(
    name: str,
    *,
    num_classes: int = 2,
    image_size: int = 224,
    weights: str | None = None,
    **options,
) -> keras.Model:
    """Build a network by name.

    Args:
        name: one of `list_models()`.
        num_classes: number of classes, at least 2.
        image_size: side of the square input in pixels.
        weights: None for random ones, or what the network takes, such as "imagenet". The head is
            always new. Weights that cannot be had are an error, never random ones instead.
        **options: what the model of that name takes besides, such as `dropout`.

    Returns:
        An uncompiled `keras.Model`: z-scored images [B, image_size, image_size, 3] to softmax
        probabilities [B, num_classes], float32.

    Raises:
        ModelError: for an unknown name or option, a size the network cannot take, or weights that
            are not there, do not fit or are not known.

    Example:
        >>> build_model("cnn").count_params()
        266306
    """
    check_model(name)
    for argument, value, low in (("num_classes", num_classes, 2), ("image_size", image_size, 1)):
        if not isinstance(value, int) or value < low:
            raise ModelError(f"{argument} must be a whole number >= {low}. Received: {value!r}")
    builder = _BUILDERS[name]
    parameters = set(inspect.signature(builder).parameters)
    known = parameters - {"num_classes", "image_size", "weights"}
    if unknown := sorted(set(options) - known):
        raise ModelError(
            f"{name} takes the options {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
        )
    if weights is not None:
        if "weights" not in parameters:
            raise ModelError(
                f"There are no pretrained weights for {name}: weights must be None. "
                f"Received: {weights!r}"
            )
        options["weights"] = weights
    return builder(num_classes=num_classes, image_size=image_size, **options)


def _import_builders() -> None:
    for module in _MODULES:
        importlib.import_module(module)
