"""A network's `.keras` file in, the network out, in a process that has built none yet."""

import importlib
import os
import zipfile

import keras

from breastus.models.registry import list_models


def load_network(path: str | os.PathLike) -> keras.Model:
    """Load a network in safe mode, without what it was trained with.

    Keras knows layers by names that they register when their file is imported, so that is done
    first; KerasHub, which takes seconds to import, only where the network has a part of it.

    Args:
        path: a `.keras` file, such as a run's `best.keras`.
    """
    list_models()
    importlib.import_module("breastus.models.ensemble")  # of bundles; nothing builds it by name
    with zipfile.ZipFile(path) as archive:
        if b"keras_hub" in archive.read("config.json"):
            import keras_hub  # noqa: F401
    return keras.models.load_model(path, compile=False, safe_mode=True)
