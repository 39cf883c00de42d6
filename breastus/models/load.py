"""Load a network from a `.keras` file, such as `best.keras` in a run folder."""

import importlib
import os
import zipfile

import keras

from breastus.models.registry import list_models


def load_network(path: str | os.PathLike) -> keras.Model:
    """Load a network in safe mode, without optimizer and loss.

    Keras finds custom layers only after their modules are imported. KerasHub takes seconds to
    import and is imported only for networks that contain its layers. Predictions do without XLA,
    which Keras would use on a GPU: compiling takes longer than predicting some hundred images.
    """
    list_models()
    importlib.import_module("breastus.models.ensemble")  # of bundles; nothing builds it by name
    with zipfile.ZipFile(path) as archive:
        if b"keras_hub" in archive.read("config.json"):
            import keras_hub  # noqa: F401
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    model.jit_compile = False
    return model
