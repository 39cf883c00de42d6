"""Progress of a pretraining: one bar on a terminal, one line an epoch in a log; and its history."""

import sys
import time

import keras
from tqdm import tqdm


class PretrainingProgress(keras.callbacks.Callback):
    """Shows how far a pretraining is, and keeps what came of each epoch.

    Args:
        epochs: of the pretraining.
        steps: batches an epoch.

    Attributes:
        history: a row an epoch: `epoch`, the losses and accuracies, `seconds`.
    """

    def __init__(self, epochs: int, steps: int):
        super().__init__()
        self.epochs, self.steps = epochs, steps
        self.history: list[dict[str, float]] = []
        self._bar = None

    def on_train_begin(self, logs=None):
        self._bar = tqdm(
            total=self.epochs * self.steps,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._bar.set_description(f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch, logs=None):
        self._bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._start, 2)
        numbers = {name: float(value) for name, value in logs.items()}
        self.history.append({"epoch": epoch + 1, **numbers, "seconds": seconds})
        if self._bar.disable:
            print(
                f"epoch {epoch + 1:>3}/{self.epochs}  loss {logs['loss']:.3f}  {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )

    def on_train_end(self, logs=None):
        self._bar.close()
