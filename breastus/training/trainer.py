"""Fit a network as the settings say: tables of images in, `best.keras` and `history.csv` out."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from breastus.augmentation.layers import image_seed
from breastus.augmentation.policies import build_augmenter
from breastus.config import Config
from breastus.data.pipeline import (
    Pixels,
    evaluation_dataset,
    readable,
    steps_per_epoch,
    training_dataset,
)
from breastus.errors import RunError
from breastus.labels import LABELS, label_id
from breastus.models.registry import build_model
from breastus.preprocessing.transform import Transform
from breastus.training.callbacks import (
    BEST_FILE,
    STATE_FILE,
    ProgressBar,
    RunRecorder,
    StopOnNonFinite,
)
from breastus.training.state import restore_state


class Trainer:
    """Trains one network in one run folder; called again after a kill, it goes on where it was.

    Args:
        folder: the run folder.
        config: the experiment's settings.
        tables: "train", "val" and "test" to manifest rows (columns `path` and `label`).
    """

    def __init__(self, folder: Path, config: Config, tables: Mapping[str, pd.DataFrame]):
        self.folder = folder
        self.config = config
        self.tables = tables
        self.transform = Transform.of(config)
        self._pixels: dict[str, Pixels] = {}

    def fit(self) -> None:
        """Train to the last epoch; the network with the lowest validation loss is `best.keras`.

        Raises:
            TrainingError: when the loss stops being finite.
            RunError: when a saved state is damaged or nothing can be written.
        """
        config = self.config
        # Decides the initial weights and the seed of dropout's generator.
        keras.utils.set_random_seed(config.seed)
        model = new_model(config)
        compile_model(model, config)

        # Resuming, in this order: the state file if there is one, else from the start.
        state = self.folder / STATE_FILE
        record = restore_state(state, model) if state.exists() else None
        recorder = RunRecorder(self.folder, record)
        if recorder.epochs_done >= config.training.epochs:
            return

        augmenter = build_augmenter(config.augmentation.policy)
        batch_size = config.training.batch_size
        steps = steps_per_epoch(len(self.tables["train"]), batch_size)
        batches = training_dataset(
            self._split_pixels("train"),
            self._labels("train"),
            augment=augmenter,
            image_seed=image_seed,
            tone=self.transform.tone,
            batch_size=batch_size,
            seed=config.seed,
            first_epoch=recorder.epochs_done,
            epochs=config.training.epochs,
        )
        with readable(), _enough_memory():
            self._fit(model, batches, steps, recorder)

    def _fit(self, model, batches, steps: int, recorder: RunRecorder) -> None:
        config = self.config
        model.fit(
            batches,
            steps_per_epoch=steps,
            initial_epoch=recorder.epochs_done,
            epochs=config.training.epochs,
            validation_data=self._evaluation_batches("val"),
            callbacks=[
                StopOnNonFinite(),
                recorder,
                ProgressBar(config.training.epochs, steps, recorder),
                keras.callbacks.TensorBoard(str(self.folder / "logs"), write_graph=False),
            ],
            shuffle=False,  # the dataset comes in the order of its epoch
            verbose=0,
        )

    def predict(self, model: keras.Model, split: str) -> np.ndarray:
        """Return the model's probabilities for a split's images, float32 [n, classes]."""
        with readable(), _enough_memory():
            return model.predict(self._evaluation_batches(split), verbose=0)

    def best_model(self) -> keras.Model:
        """Return the network with the lowest validation loss, loaded in safe mode."""
        return keras.models.load_model(self.folder / BEST_FILE, compile=False, safe_mode=True)

    def _evaluation_batches(self, split: str):
        return evaluation_dataset(
            self._split_pixels(split),
            self._labels(split),
            tone=self.transform.tone,
            batch_size=self.config.training.batch_size,
        )

    def _split_pixels(self, split: str) -> Pixels:
        if split not in self._pixels:
            self._pixels[split] = Pixels(
                self.tables[split]["path"].tolist(),
                decode=self.transform.decode,
                size=self.config.model.image_size,
                cache_mb=self.config.training.cache_mb,
            )
        return self._pixels[split]

    def _labels(self, split: str) -> list[int]:
        return [label_id(label) for label in self.tables[split]["label"]]


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            f"Memory or disk is exhausted: {str(error).splitlines()[0]}. Try a smaller batch "
            "(--set training.batch_size=8) or image (--set model.image_size=...), or free some "
            "space."
        ) from error


def new_model(config: Config) -> keras.Model:
    """Build the network that the settings name, with weights drawn by Keras' seed.

    Raises:
        ModelError: when there is no such network, or it cannot be had with these settings.
    """
    settings = config.model
    options = {} if settings.dropout is None else {"dropout": settings.dropout}
    return build_model(
        settings.name,
        num_classes=len(LABELS),
        image_size=settings.image_size,
        weights=settings.weights,
        **options,
    )


def compile_model(model: keras.Model, config: Config) -> None:
    """Give the model its optimizer and loss: AdamW and cross-entropy, as in the study."""
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # On a CPU, XLA halves the speed of the study's network.
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
