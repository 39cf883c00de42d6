"""The whole state of a training between two epochs, in one file: written, and taken up again.

Keras' `BackupAndRestore` leaves out what dropout's generators and the callbacks remember. Here
everything that the next epoch depends on is written: the model's variables (weights, batch-norm
statistics, seed generators), the optimizer's, and the record of the epochs so far. Order and
augmentation need no saving, being functions of (seed, epoch, index).
"""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np

from breastus.errors import RunError
from breastus.files import jsonable, write_aside

_RECORD = "record"


def save_state(path: Path, model: keras.Model, record: dict) -> None:
    """Write the state of a compiled model and a JSON-able record of the training so far."""
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    text = json.dumps(jsonable(record))
    with write_aside(path) as aside:
        np.savez(aside, **arrays, **{_RECORD: np.array(text)})


def restore_state(path: Path, model: keras.Model) -> dict:
    """Put a saved state into a compiled model; return the record that was saved with it.

    Raises:
        RunError: when the file is damaged, or was saved from another network or optimizer.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            record = json.loads(str(saved[_RECORD]))
            arrays = {name: saved[name] for name in saved.files if name != _RECORD}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"The training state {path} is damaged ({error}). Delete it to start this run again, "
            "or choose another place with --out."
        ) from error
    variables = _variables(model)
    if {name: array.shape for name, array in arrays.items()} != {
        name: tuple(variable.shape) for name, variable in variables.items()
    }:
        raise RunError(
            f"The training state {path} is of another network. Choose another place with --out."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return record


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    # By position: Keras numbers names such as `adam_w_2` through all that a process has built, so
    # in a notebook the same network has other names the second time.
    owners = (("model", model.variables), ("optimizer", model.optimizer.variables))
    return {
        f"{owner}/{position:04d}": variable
        for owner, variables in owners
        for position, variable in enumerate(variables)
    }
