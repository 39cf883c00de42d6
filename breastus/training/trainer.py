"""Fit a network as the settings say: tables of images in, `best.keras` and `history.csv` out."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
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
from breastus.files import write_aside
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
from breastus.training.losses import balanced_class_weights, make_loss
from breastus.training.optimizers import exclude_from_decay, make_optimizer
from breastus.training.sampling import epoch_order
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
        batch_size = config.training.batch_size
        labels = self._labels("train")
        order, draws = epoch_order(labels, strategy=config.training.sampling, seed=config.seed)
        steps = steps_per_epoch(draws, batch_size)
        model = new_model(config, precision=config.training.precision)
        compile_model(model, config, labels=labels, steps_per_epoch=steps)

        # Resuming, in this order: the state file if there is one, else from the start.
        state = self.folder / STATE_FILE
        record = restore_state(state, model) if state.exists() else None
        recorder = RunRecorder(self.folder, record)
        if recorder.epochs_done >= config.training.epochs:
            return

        augmenter = build_augmenter(config.augmentation.policy)
        batches = training_dataset(
            self._split_pixels("train"),
            labels,
            order=order,
            augment=augmenter,
            image_seed=functools.partial(image_seed, config.seed),
            tone=self.transform.tone,
            batch_size=batch_size,
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
        """Return the network with the lowest validation loss, loaded in safe mode, in float32.

        One that was trained in half precision is put into float32 first, in `best.keras` as well:
        what is judged is what is exported.
        """
        path = self.folder / BEST_FILE
        trained = keras.models.load_model(path, compile=False, safe_mode=True)
        if all(layer.compute_dtype == "float32" for layer in trained._flatten_layers()):
            return trained
        model = new_model(self.config)
        model.set_weights(trained.get_weights())
        with write_aside(path) as aside:
            model.save(aside)
        return model

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


def new_model(config: Config, *, precision: str = "float32") -> keras.Model:
    """Build the network that the settings name, with weights drawn by Keras' seed.

    Args:
        config: the experiment's settings.
        precision: "float32", "mixed_bfloat16" or "mixed_float16"; variables are float32 in each.

    Raises:
        ModelError: when there is no such network, or it cannot be had with these settings.
    """
    settings = config.model
    options = {} if settings.dropout is None else {"dropout": settings.dropout}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build_model(
            settings.name,
            num_classes=len(LABELS),
            image_size=settings.image_size,
            weights=settings.weights,
            **options,
        )
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(
    model: keras.Model, config: Config, *, labels: Sequence[int], steps_per_epoch: int
) -> None:
    """Give the model its optimizer and loss; by default the study's, AdamW and cross-entropy.

    Args:
        model: the network.
        config: the experiment's settings.
        labels: class ids of the training images, from which class weights follow.
        steps_per_epoch: batches an epoch, by which learning rate schedules count.
    """
    settings = config.training
    optimizer = make_optimizer(settings, steps_per_epoch=steps_per_epoch)
    if not settings.decay_all:
        exclude_from_decay(optimizer, model)
    weights = None
    if settings.class_weights == "balanced":
        weights = balanced_class_weights(labels, len(LABELS))
    model.compile(
        optimizer=optimizer,
        loss=make_loss(
            weights, focal_gamma=settings.focal_gamma, label_smoothing=settings.label_smoothing
        ),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # On a CPU, XLA halves the speed of the study's network.
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
