"""Callbacks of one's own are made by name, new ones each time."""

import keras
import pytest

from breastus.errors import ConfigError
from breastus.training.callbacks.registry import make_callbacks, register_callback


def test_callbacks_are_made_by_name():
    register_callback("test_registry_lambda")(keras.callbacks.LambdaCallback)
    first, second = make_callbacks("test_registry_lambda, test_registry_lambda")
    assert isinstance(first, keras.callbacks.LambdaCallback)
    assert first is not second
    assert make_callbacks("") == []
    with pytest.raises(ConfigError, match=r"training\.callbacks.*Received: 'other'"):
        make_callbacks("other")
