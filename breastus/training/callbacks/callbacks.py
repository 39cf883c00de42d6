"""What happens around an epoch: stop on NaN, keep the best, record, save, show progress."""

import contextlib
import csv
import io
import math
import sys
import time
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from breastus.errors import RunError, TrainingError
from breastus.runs.run import BEST_FILE, HISTORY_FILE
from breastus.training.callbacks.weight_averaging import WeightAverage, in_place
from breastus.training.lesion_head import PROBABILITIES
from breastus.training.stages import BackboneFreezer
from breastus.training.state import SavedState, restore, save_state
from breastus.utils.files import write_aside, write_text


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Stop at the first loss that is NaN or infinite, naming the epoch and the step."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # The reported loss is the epoch's running mean: once NaN, always NaN, so the first counts.
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"The loss is {logs['loss']} at epoch {self._epoch + 1}, step {batch + 1}. "
                "Try a smaller learning rate (--set training.learning_rate=...)."
            )

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs.get("val_loss", 0.0)):  # pretraining validates nothing
            raise TrainingError(
                f"The validation loss is {logs['val_loss']} after epoch {epoch + 1}. "
                "Try a smaller learning rate (--set training.learning_rate=...)."
            )


class RunRecorder(keras.callbacks.Callback):
    """Keep the best network, the history and the state in the run folder, after each epoch.

    The three belong together: the state is written last, so a run killed in between repeats the
    epoch and writes the same files again. Because `best.keras` may then be of an epoch that the
    state knows nothing of, the state holds the best weights as well, and `resume` writes them.

    Args:
        folder: the run folder; gets `best.keras`, `history.csv` and the states.
        network: what is kept; what is fitted is this, or a part of it.
        average: of the weights; where there is one, it is the network that is kept.
        freezer: of the first stage, so that the network is kept as one that can train on.
    """

    def __init__(
        self,
        folder: Path,
        network: keras.Model,
        *,
        average: WeightAverage | None = None,
        freezer: BackboneFreezer | None = None,
    ):
        super().__init__()
        self.folder, self.network = folder, network
        self.average, self.freezer = average, freezer
        self.history: list[dict] = []
        self.best = {"epoch": 0, "val_loss": math.inf}
        self._best_weights: list[np.ndarray] = []

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    def resume(self, state: SavedState, optimizer: keras.optimizers.Optimizer) -> None:
        """Go on from a saved state: fill network and optimizer, and write `best.keras`.

        Raises:
            RunError: when the state is of another network or optimizer.
        """
        model = self.network
        restore(state, self._owners(optimizer))
        self.history, self.best = list(state.record["history"]), dict(state.record["best"])
        if self.best["epoch"] == self.epochs_done:
            with self._averaged():
                self._best_weights = model.get_weights()
        else:
            self._best_weights = state.of("best")
        if [weight.shape for weight in self._best_weights] != [w.shape for w in model.weights]:
            raise RunError(f"The training state {state.path} holds no best weights.")
        with in_place([weight.value for weight in model.weights], self._best_weights):
            self._save()
        write_text(self.folder / HISTORY_FILE, _csv(self.history))

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Of a network with several outputs, Keras names what belongs to the probabilities so.
        logs = {name.replace(f"{PROBABILITIES}_acc", "acc"): logs[name] for name in logs}
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - self._start, 2)
        self.history.append(row)
        if row["val_loss"] < self.best["val_loss"]:
            self.best = {"epoch": epoch + 1, "val_loss": row["val_loss"]}
            with self._averaged():
                self._best_weights = self.network.get_weights()
                self._save()
        write_text(self.folder / HISTORY_FILE, _csv(self.history))
        owners = self._owners(self.model.optimizer)
        if self.best["epoch"] != epoch + 1:  # else they are in the state already
            owners["best"] = self._best_weights
        save_state(self.folder, owners, {"history": self.history, "best": self.best})

    def _owners(self, optimizer: keras.optimizers.Optimizer) -> dict[str, list]:
        average = self.average.variables if self.average else []
        return {
            "model": self.network.variables,
            "optimizer": optimizer.variables,
            "average": average,
        }

    def _averaged(self) -> contextlib.AbstractContextManager:
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def _save(self) -> None:
        model = self.network
        # Without its optimizer: a third of the size, and nothing of breastus is needed to load it.
        output = model.output[PROBABILITIES] if isinstance(model.output, dict) else model.output
        plain = keras.Model(model.input, output, name=model.name)
        unfrozen = self.freezer.released() if self.freezer else contextlib.nullcontext()
        with unfrozen, write_aside(self.folder / BEST_FILE) as aside:
            plain.save(aside)


class ProgressBar(keras.callbacks.Callback):
    """One bar for the whole training on a terminal; one line an epoch in a log file.

    Args:
        epochs: epochs of the whole run.
        steps: steps an epoch: batches, or the parts that batches are cut into.
        recorder: asked for the best epoch so far; must come before this in the list of callbacks.
    """

    def __init__(self, epochs: int, steps: int, recorder: RunRecorder):
        super().__init__()
        self.epochs, self.steps, self.recorder = epochs, steps, recorder
        self._bar = None

    def on_train_begin(self, logs=None):
        self._bar = tqdm(
            total=self.epochs * self.steps,
            initial=self.recorder.epochs_done * self.steps,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._bar.set_description(f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        self._bar.set_postfix_str(f"loss {logs['loss']:.3f}{self._best()}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        if self._bar.disable:
            seconds = self.recorder.history[-1]["seconds"]
            print(
                f"epoch {epoch + 1:>3}/{self.epochs}  loss {logs['loss']:.3f}  "
                f"val_loss {logs['val_loss']:.3f}{self._best()}  {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )

    def on_train_end(self, logs=None):
        self._bar.close()

    def _best(self) -> str:
        best = self.recorder.best
        return f", best val_loss {best['val_loss']:.3f} (epoch {best['epoch']})" * (
            best["epoch"] > 0
        )


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
