"""The whole state of a training between two epochs, in one file: written, and taken up again.

Keras' `BackupAndRestore` leaves out what dropout's generators and the callbacks remember. Here
everything that the next epoch depends on is written: the model's variables (weights, batch-norm
statistics, seed generators), the optimizer's (its own state, accumulated gradients, loss scale),
the weights' average, the best weights so far, and the record of the epochs. Order, augmentation
and mixup need no saving, being functions of (seed, epoch, draw).

Two states are kept, of the last epoch and of the one before: should the newest be damaged, the
other is taken up. Each holds its own best weights, as `best.keras` may be of a later epoch.
"""

import contextlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from breastus.errors import RunError
from breastus.utils.files import jsonable, write_aside

STATE_FILE = "state.npz"
PREVIOUS_STATE_FILE = "state_previous.npz"
_RECORD = "record"


class SavedState(NamedTuple):
    """What a state file holds.

    Args:
        path: the file.
        record: what was recorded of the training so far, from JSON.
        arrays: by `owner/position`.
    """

    path: Path
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def of(self, owner: str) -> list[np.ndarray]:
        """Return an owner's arrays in order."""
        return [self.arrays[name] for name in sorted(self.arrays) if name.startswith(f"{owner}/")]


def save_state(folder: Path, owners: Mapping[str, Sequence], record: dict) -> None:
    """Write a state, and keep the one before it.

    At every moment one of the two files is whole: the new state is complete before the old one
    is renamed.

    Args:
        folder: the run folder.
        owners: name to variables or arrays.
        record: JSON-able, of the training so far.
    """
    path = folder / STATE_FILE
    # By position: Keras numbers names such as `adam_w_2` through all that a process has built, so
    # in a notebook the same network has other names the second time.
    arrays = {
        f"{owner}/{position:04d}": value.numpy() if hasattr(value, "numpy") else value
        for owner, values in owners.items()
        for position, value in enumerate(values)
    }
    with write_aside(path) as aside:
        np.savez(aside, **arrays, **{_RECORD: np.array(json.dumps(jsonable(record)))})
        with aside.open("rb") as handle:
            os.fsync(handle.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, folder / PREVIOUS_STATE_FILE)


def load_state(folder: Path) -> SavedState | None:
    """Return the newest state that is whole, or None where there is none; say when one is not.

    Raises:
        RunError: when there are states and all are damaged.
    """
    damage = []
    for path in (folder / STATE_FILE, folder / PREVIOUS_STATE_FILE):
        if not path.exists():
            continue
        try:
            state = _read(path)
        except Exception as error:  # a damaged archive shows as anything from KeyError to zlib's
            damage.append((path, error))
            continue
        for damaged, error in damage:
            print(
                f"The training state {damaged} is damaged ({error}). Going on from "
                f"{path.name}, after epoch {len(state.record['history'])}.",
                file=sys.stderr,
                flush=True,
            )
        return state
    if damage:
        path, error = damage[0]
        raise RunError(
            f"The training state {path} is damaged ({error}), and no earlier one is whole. Delete "
            "it to start this run again, or choose another place with --out."
        ) from error
    return None


def restore(state: SavedState, owners: Mapping[str, Sequence]) -> None:
    """Put a state's arrays into variables.

    Raises:
        RunError: when it was saved from another network or optimizer.
    """
    for owner, variables in owners.items():
        saved = [array.shape for array in state.of(owner)]
        if saved != [tuple(variable.shape) for variable in variables]:
            raise RunError(
                f"The training state {state.path} is of another network. Choose another place "
                "with --out."
            )
    for owner, variables in owners.items():
        for variable, array in zip(variables, state.of(owner), strict=True):
            variable.assign(array)


def has_state(folder: Path) -> bool:
    """Return whether a training has been going on in the folder."""
    return any((folder / name).exists() for name in (STATE_FILE, PREVIOUS_STATE_FILE))


def discard_states(folder: Path) -> None:
    """Remove both states of a run that has ended."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> SavedState:
    if not zipfile.is_zipfile(path):  # or numpy takes it for a pickle, and says how to load that
        raise zipfile.BadZipFile("File is not a zip file")
    with np.load(path, allow_pickle=False) as saved:
        record = json.loads(str(saved[_RECORD]))
        arrays = {name: saved[name] for name in saved.files if name != _RECORD}
    return SavedState(path, record, arrays)
