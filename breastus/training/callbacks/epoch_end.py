"""Keras callbacks of a training: the best network, the history, the progress, a loss that is NaN.

None of them waits for the device after every step.

Each one subclasses Keras's own where Keras has one, and says what it does otherwise.
"""

import contextlib
import csv
import io
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from breastus.errors import TrainingError
from breastus.training.callbacks.weight_averaging import WeightAverage, in_place
from breastus.training.lesion_head import PROBABILITIES
from breastus.training.stages import BackboneFreezer
from breastus.utils.files import write_aside, write_text

_EVERY = 20  # steps between two looks at the loss
_EPOCH = "finished_epochs"
# `training.checkpoint` to what is compared between epochs.
_MONITORED = {"loss": "val_loss", "accuracy": "val_accuracy", "last": _EPOCH}


class LazyCallbackList(keras.callbacks.CallbackList):
    """Calls callbacks after a step with logs that wait for the device only when they are read.

    Keras's own list converts the logs to numbers after each step, so that the device waits for
    Python and Python for the device.
    """

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs=_LazyLogs(logs or {}))

    def on_test_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_test_batch_end(batch, logs=_LazyLogs(logs or {}))


class _LazyLogs(Mapping):
    """Names to numbers; a number is fetched when it is asked for."""

    def __init__(self, logs: Mapping):
        self._logs = logs

    def __getitem__(self, name: str) -> float:
        return float(self._logs[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._logs)

    def __len__(self) -> int:
        return len(self._logs)


class TerminateOnNonFinite(keras.callbacks.TerminateOnNaN):
    """Raise a TrainingError that names epoch and step if the loss is NaN or infinite.

    Keras's callback reads the loss after every step. The loss that Keras reports is the running
    mean of the epoch, which stays NaN, so every twentieth step and the end of the epoch are enough.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._step = epoch, 0

    def on_batch_end(self, batch, logs=None):
        self._step = batch + 1
        if self._step % _EVERY == 0:
            self._check("loss", logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "val_loss"):
            self._check(name, logs.get(name, 0.0))  # pretraining has no validation images

    def _check(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The {name} is {loss} in epoch {self._epoch + 1}, at step {self._step} or before. "
                "Try a smaller learning rate (--set training.learning_rate=...)."
            )


class CompileTime(keras.callbacks.Callback):
    """Print how long the first step took, in which XLA compiles.

    The call of a step returns when it is compiled and under way, so nothing has to be waited for.
    """

    def on_train_begin(self, logs=None):
        self._start, self._done = None, False

    def on_train_batch_begin(self, batch, logs=None):
        self._start = self._start or time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self._done:
            return
        self._done = True
        print(
            f"XLA compiled the first step in {time.perf_counter() - self._start:.1f} s; a smaller "
            "last batch is compiled as well. training.xla=off avoids it.",
            file=sys.stderr,
            flush=True,
        )


class BestCheckpoint(keras.callbacks.ModelCheckpoint):
    """Hold the network of the epoch that is kept (the setting `training.checkpoint`), and write it.

    Keras's callback saves the model that is fitted after each better epoch, in place. Here `write`
    is called together with the training state, as both files of a large network take long. The
    whole network is written, of which the fitted model may be a part; with averaged weights if
    there are any; with all layers trainable, so that it can be trained further; without its
    optimizer, which makes up two thirds of the file and needs breastus to be loaded.

    Attributes:
        best: lowest validation loss, highest validation accuracy or last epoch so far, or None.
        best_epoch: its epoch, counted from 1; 0 before the first one.
        best_weights: its weights.
    """

    def __init__(
        self,
        path: Path,
        network: keras.Model,
        *,
        kept: str = "loss",
        average: WeightAverage | None = None,
        freezer: BackboneFreezer | None = None,
    ):
        mode = "min" if kept == "loss" else "max"
        super().__init__(path, monitor=_MONITORED[kept], mode=mode, save_best_only=True)
        self.kept = kept
        self.network, self._average, self._freezer = network, average, freezer
        self.best_epoch = 0
        self.best_weights: list[np.ndarray] = []
        self._written = True  # nothing to write

    def set_model(self, model):
        super().set_model(self)  # Keras's callback calls `save` of it

    def on_epoch_end(self, epoch, logs=None):
        before = self.best
        # The names of history.csv, and the number of the epoch, of which the last is the highest.
        logs = {_metric_name(name): value for name, value in (logs or {}).items()}
        with self.averaged():
            super().on_epoch_end(epoch, {**logs, _EPOCH: epoch + 1})
            if self.best != before:
                self.best_epoch, self.best_weights = epoch + 1, self.network.get_weights()

    def resume(
        self, best_epoch: int, rows: Sequence[Mapping[str, float]], weights: list[np.ndarray]
    ) -> None:
        """Continue after the epochs of `rows`, as in history.csv, of which one was kept."""
        self.best_epoch, self.best_weights, self._written = best_epoch, weights, False
        self.best = {**rows[best_epoch - 1], _EPOCH: best_epoch}[self.monitor]

    def averaged(self) -> contextlib.AbstractContextManager:
        """Put the averaged weights, if there are any, into the network while the block runs."""
        return self._average.in_place() if self._average else contextlib.nullcontext()

    def save(self, path: str, overwrite: bool = True) -> None:
        """Remember that there is something to write: what Keras's callback calls."""
        self._written = False

    def write(self) -> None:
        """Write the network that is kept aside, then rename it, unless the file holds it."""
        if self._written:
            return
        output = self.network.output
        if isinstance(output, dict):
            output = output[PROBABILITIES]
        plain = keras.Model(self.network.input, output, name=self.network.name)
        unfrozen = self._freezer.released() if self._freezer else contextlib.nullcontext()
        best = in_place([weight.value for weight in self.network.weights], self.best_weights)
        with best, unfrozen, write_aside(self.filepath) as aside:
            plain.save(aside)
        self._written = True


class HistoryLogger(keras.callbacks.CSVLogger):
    """Write `history.csv`: epoch (from 1), losses and metrics, learning rate, seconds.

    Keras's callback appends to an open file, in which a killed and resumed run would have an epoch
    twice. Here the file is written as a whole after each epoch, aside and renamed.

    Attributes:
        rows: one dictionary an epoch.
    """

    def __init__(self, path: Path | None = None):
        super().__init__(path or "")
        self.rows: list[dict[str, float]] = []

    def on_train_begin(self, logs=None):
        pass  # Keras's callback opens the file here, and empties it

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1}
        row |= {_metric_name(name): float(value) for name, value in logs.items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - self._start, 2)
        self.rows.append(row)
        self.write()

    def on_train_end(self, logs=None):
        pass

    def write(self) -> None:
        """Write all rows, if there is a file to write them to."""
        if not self.filename:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.filename, text.getvalue())


def _metric_name(name: str) -> str:
    """Return a metric's own name: Keras puts the name of an output before it if there are two."""
    val, metric = ("val_", name[4:]) if name.startswith("val_") else ("", name)
    if metric != f"{PROBABILITIES}_loss":
        metric = metric.removeprefix(f"{PROBABILITIES}_")
    return val + metric


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training on a terminal; one line an epoch in a log file.

    Each part of an accumulated batch is a step. `checkpoint` is asked for the best epoch so far,
    and must come before this in the callbacks.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        *,
        initial_epoch: int = 0,
        checkpoint: BestCheckpoint | None = None,
    ):
        super().__init__()
        self._epochs, self._steps, self._initial = epochs, steps, initial_epoch
        self._checkpoint = checkpoint
        self._bar = None

    def on_train_begin(self, logs=None):
        self._bar = tqdm(
            total=self._epochs * self._steps,
            initial=self._initial * self._steps,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch, logs=None):
        if self._bar.disable:
            return
        if (batch + 1) % _EVERY == 0:
            self._bar.set_postfix_str(f"loss {logs['loss']:.3f}{self._best()}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        if not self._bar.disable:
            return
        losses = f"loss {logs['loss']:.3f}"
        if "val_loss" in logs:
            losses += f"  val_loss {logs['val_loss']:.3f}{self._best()}"
        seconds = time.perf_counter() - self._start
        print(
            f"epoch {epoch + 1:>3}/{self._epochs}  {losses}  {seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )

    def on_train_end(self, logs=None):
        self._bar.close()

    def _best(self) -> str:
        best = self._checkpoint
        if best is None or not best.best_epoch:
            return ""
        if best.kept == "last":
            return ""
        return f", best val_{best.kept} {best.best:.3f} (epoch {best.best_epoch})"
