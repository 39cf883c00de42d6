"""What several tests of training share: a tiny training without report and bundle, and its end."""

import json
from pathlib import Path

import keras
import numpy as np

from breastus.training.trainer import Trainer


class Killed(BaseException):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the training at once after a step of an epoch, both counted from 0."""

    def __init__(self, epoch, step):
        super().__init__()
        self.moment = (epoch, step)

    def on_epoch_begin(self, number, logs=None):
        self.number = number

    def on_train_batch_end(self, batch, logs=None):
        if (self.number, batch) == self.moment:
            raise Killed


def fit(folder: Path, config, tables, **options) -> dict[str, np.ndarray]:
    """Train; return the arrays of the last state, and the history under `history`."""
    folder.mkdir(exist_ok=True)
    Trainer(folder, config, tables, **options).fit()
    with np.load(folder / "state.npz") as saved:
        arrays = {name: saved[name] for name in saved.files if name != "record"}
    history = read_history(folder)
    names = [name for name in history[0] if name != "seconds"]
    arrays["history"] = np.array([[row[name] for name in names] for row in history])
    best = keras.models.load_model(folder / "best.keras").get_weights()
    return arrays | {f"best.keras/{i}": weight for i, weight in enumerate(best)}


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return what the last state of a training says of each epoch."""
    with np.load(folder / "state.npz") as saved:
        return json.loads(str(saved["record"]))["history"]


def assert_equal(first: dict, second: dict) -> None:
    """Assert that two trainings ended alike, bit for bit."""
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
