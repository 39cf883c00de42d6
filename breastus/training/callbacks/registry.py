"""Keras callbacks by name, for `training.callbacks`.

@register_callback("stop_early")
def stop_early():
    return keras.callbacks.EarlyStopping(patience=5)
"""

from collections.abc import Callable

import keras

from breastus.utils.plugins import Registry

_CALLBACKS = Registry("callback", setting="training.callbacks")


def register_callback(name: str) -> Callable[[Callable], Callable]:
    """Register a builder, called without arguments, of a `keras.callbacks.Callback`.

    Raises:
        ConfigError: if the name is taken.
    """
    return _CALLBACKS.register(name)


def make_callbacks(names: str) -> list[keras.callbacks.Callback]:
    """Return a new callback for each name of a text such as `stop_early,notify`."""
    return [_CALLBACKS.get(name)() for name in map(str.strip, names.split(",")) if name]
