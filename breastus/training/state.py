"""The whole state of a training between two epochs, in one file: saved, and restored after a kill.

Writing a state, and `best.keras` before it, takes at most a twentieth of the time: after the first
epoch and the last one both are always written, and in between once the training has gone on for
twenty times as long as they took. A run that is killed repeats the epochs since then, with the same
numbers.

Everything that the next epoch depends on is saved: the variables of the model (weights, batch-norm
statistics, seed generators) and of the optimizer (its slots, accumulated gradients, loss scale),
the average of the weights, the best weights so far, the history, and counters of callbacks. Order,
augmentation and mixup need no saving, because they are functions of (seed, epoch, draw).

The two last states are kept. If the newest file is damaged, the other one is restored. Each holds
its own best weights, because `best.keras` may be of a later epoch.
"""

import contextlib
import json
import math
import os
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from breastus.errors import RunError
from breastus.runs.run import PREVIOUS_STATE_FILE, STATE_FILE
from breastus.training.callbacks.epoch_end import BestCheckpoint, HistoryLogger
from breastus.training.callbacks.weight_averaging import WeightAverage
from breastus.training.optimizers import accumulated_gradients, counter
from breastus.utils.files import jsonable, sync, write_aside

_RECORD = "record"
_SPARING = 20  # times as long as writing takes, until it is written again


class TrainingState(keras.callbacks.BackupAndRestore):
    """Save the whole state of a training after an epoch, and restore it.

    Keras's callback saves weights and optimizer alone, in place, so a resumed run differs from an
    uninterrupted one. A run that is resumed from this state ends with the same bits on a CPU.

    The state is written after `best.keras` and `history.csv`. A run that is killed in between
    repeats epochs and writes the same files again.

    Args:
        folder: the run folder.
        network: the network that is trained; what is fitted is this, or a part of it.
        checkpoint: must come before this in the callbacks.
        history: must come before this in the callbacks.
        average: moving average of the weights, or None.
        callbacks: further callbacks whose attributes of type int, float, bool and str (such as the
            counter of `EarlyStopping`) are saved and restored.
        accumulation_steps: number of parts a batch is split into. A state of another number is
            restored too.
    """

    def __init__(
        self,
        folder: Path,
        network: keras.Model,
        *,
        checkpoint: BestCheckpoint,
        history: HistoryLogger,
        average: WeightAverage | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        accumulation_steps: int = 1,
    ):
        super().__init__(str(folder), double_checkpoint=True, delete_checkpoint=False)
        self.folder, self._network = folder, network
        self._checkpoint, self._history, self._average = checkpoint, history, average
        self._others, self._parts = list(callbacks), accumulation_steps
        self._next = 0.0  # time before which no state is written
        self._counters: list[dict[str, Any]] = []
        self.stopped = False
        self._saved = load_state(folder)
        if self._saved is not None:
            self._history.rows = list(self._saved.record["history"])
            self._counters = self._saved.record["callbacks"]
            self.stopped = self._saved.record["stopped"]

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs, also before `restore`."""
        return len(self._history.rows)

    def restore(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Restore the state that was found, if any, and write its `best.keras` and `history.csv`.

        Keras's callback restores when the training begins. Here the caller has to know first how
        many epochs are done, as that decides what is frozen and compiled. The optimizer must be
        built.
        """
        state, self._saved = self._saved, None
        if state is None:
            return
        owners = self._owners(optimizer)
        parts = state.record.get("accumulation_steps", self._parts)
        if parts != self._parts:
            # Between two batches nothing is accumulated, unless loss scaling has skipped a part.
            del owners["accumulated"]
        restore(state, owners)
        if parts != self._parts:
            counts = counter(optimizer)
            counts.assign(counts // parts * self._parts)
        best, model, epoch = self._checkpoint, self._network, state.record["best"]["epoch"]
        if epoch == self.epochs_done:
            with best.averaged():
                weights = model.get_weights()
        else:
            weights = state.of("best")
        if [weight.shape for weight in weights] != [w.shape for w in model.weights]:
            raise RunError(
                f"The training state {state.path} holds no best weights. Delete it to start "
                "this run again."
            )
        best.resume(epoch, self._history.rows, weights)
        best.write()
        self._history.write()

    def on_train_begin(self, logs=None):
        # After their own `on_train_begin`, which resets them.
        for callback, counters in zip(self._others, self._counters, strict=False):
            vars(callback).update(counters)

    def on_epoch_end(self, epoch, logs=None):
        self._counters = [_counters(callback) for callback in self._others]
        self.stopped = bool(self.model.stop_training)
        last = self.stopped or epoch + 1 == (self.params or {}).get("epochs")
        if not last and time.perf_counter() < self._next:
            return
        start, best = time.perf_counter(), self._checkpoint
        best.write()
        record = {
            "history": self._history.rows,
            "best": {"epoch": best.best_epoch},
            "callbacks": self._counters,
            "stopped": self.stopped,
            "accumulation_steps": self._parts,
        }
        owners = self._owners(self.model.optimizer)
        if best.best_epoch != epoch + 1:  # else they are in the state already
            owners["best"] = best.best_weights
        save_state(self.folder, owners, record)
        end = time.perf_counter()
        self._next = end + _SPARING * (end - start)

    def on_train_end(self, logs=None):
        pass  # the state is discarded when the run is finished: `discard_states`

    def _owners(self, optimizer: keras.optimizers.Optimizer) -> dict[str, list]:
        accumulated = accumulated_gradients(optimizer)
        apart = {id(variable) for variable in accumulated}
        return {
            "model": self._network.variables,
            "optimizer": [each for each in optimizer.variables if id(each) not in apart],
            "accumulated": accumulated,
            "average": self._average.variables if self._average else [],
        }


def _counters(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that are finite numbers or text.

    `min_delta` is not among them, because callbacks of Keras change its sign when they first look.
    """
    values = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
        if name != "min_delta"
    }
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, bool | int | str)
        or (isinstance(value, float) and math.isfinite(value))
    }


class SavedState(NamedTuple):
    """Content of a state file."""

    path: Path
    record: dict[str, Any]  # history, best epoch and counters of callbacks, from JSON
    arrays: dict[str, np.ndarray]  # by `owner/position`

    def of(self, owner: str) -> list[np.ndarray]:
        """Return an owner's arrays in order."""
        return [self.arrays[name] for name in sorted(self.arrays) if name.startswith(f"{owner}/")]


def save_state(folder: Path, owners: Mapping[str, Sequence], record: dict) -> None:
    """Write a state, and keep the one before it.

    At every moment one of the two files is whole: the new state is complete before the old one is
    renamed. `owners` are names to variables or arrays.
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
        sync(aside)
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, folder / PREVIOUS_STATE_FILE)


def load_state(folder: Path) -> SavedState | None:
    """Return the newest complete state, or None; report a damaged one."""
    damage = []
    for path in (folder / STATE_FILE, folder / PREVIOUS_STATE_FILE):
        if not path.exists():
            continue
        try:
            state = _read(path)
        except Exception as error:  # a damaged archive raises anything from KeyError to zlib.error
            damage.append((path, error))
            continue
        for damaged, error in damage:
            print(
                f"The training state {damaged} is damaged ({error}). Training continues from "
                f"{path.name}, after epoch {len(state.record['history'])}.",
                file=sys.stderr,
                flush=True,
            )
        return state
    if damage:
        path, error = damage[0]
        raise RunError(
            f"The training state {path} is damaged ({error}), and no earlier one is complete. "
            "Delete it to start this run again, or choose another place with --out."
        ) from error
    return None


def restore(state: SavedState, owners: Mapping[str, Sequence]) -> None:
    """Assign a state's arrays to variables."""
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


def discard_states(folder: Path) -> None:
    """Remove both states of a run that is finished."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> SavedState:
    if not zipfile.is_zipfile(path):  # else numpy takes it for a pickle, and says how to load that
        raise zipfile.BadZipFile("File is not a zip file")
    with np.load(path, allow_pickle=False) as saved:
        record = json.loads(str(saved[_RECORD]))
        arrays = {name: saved[name] for name in saved.files if name != _RECORD}
    return SavedState(path, record, arrays)
