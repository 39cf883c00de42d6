"""Fit a network as the settings say: tables of images in, `best.keras` and `history.csv` out."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from breastus.augmentation.base import image_seed
from breastus.augmentation.mixup import mixup
from breastus.augmentation.policies import build_augmenter
from breastus.config.schema import Config
from breastus.data.pipeline.batches import evaluation_dataset, steps_per_epoch, training_dataset
from breastus.data.pipeline.image_cache import ImageCache, reraise_image_errors
from breastus.data.pipeline.mask_targets import MaskTargets
from breastus.errors import RunError
from breastus.evaluation.tta import VIEWS, View
from breastus.labels import LABELS, SPLITS, label_id
from breastus.models.backbone import split_backbone_head
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.runs.run import BEST_FILE, LOGS_FOLDER
from breastus.training.callbacks.callbacks import (
    ProgressBar,
    RunRecorder,
    TerminateOnNonFinite,
)
from breastus.training.callbacks.weight_averaging import WeightAverage
from breastus.training.feature_cache import FeatureCache
from breastus.training.hardware.profiles import find_profile, strategy
from breastus.training.lesion_head import (
    LESION_LOGITS,
    PROBABILITIES,
    add_lesion_head,
    lesion_grid,
)
from breastus.training.network import compile_model, execution_of, new_model
from breastus.training.sampling import epoch_order
from breastus.training.shared_feature_cache import SharedFeatureCache, everything, fingerprint
from breastus.training.stages import BackboneFreezer, stages_of
from breastus.training.state import load_state
from breastus.training.views import mean_over_views, see
from breastus.utils.files import write_aside

_EVERYTHING = "train, val and test"  # a key of tables beside these


class Trainer:
    """Trains one network in one run folder; called again after a kill, it goes on where it was.

    Args:
        folder: the run folder.
        config: the experiment's settings.
        tables: "train", "val" and "test" to manifest rows (columns `path` and `label`).
        shared: where views are kept (`training.cached_views`), their features, for several runs;
            None lets the run have its own.
        callbacks: further Keras callbacks, called after those of breastus.
        metrics: further Keras metrics of the probabilities, for history.csv and TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        tables: Mapping[str, pd.DataFrame],
        *,
        shared: SharedFeatureCache | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        metrics: Sequence[keras.metrics.Metric | str] = (),
    ):
        self.folder = folder
        self._shared = shared
        self._callbacks, self._metrics = list(callbacks), list(metrics)
        self.config = config
        self.tables = dict(tables)
        self.transform = Transform.from_config(config)
        self.execution = execution_of(config)
        self._strategy = strategy(config)
        profile = find_profile(config.training.profile)
        self._width = {"parallel_calls": profile.parallel_calls, "prefetch": profile.prefetch}
        self._images: dict[str, ImageCache] = {}
        self._augmenter = build_augmenter(
            config.augmentation.policy, erasing=config.augmentation.erasing
        )
        # Of the lesion logits, if the network learns from masks.
        self._grid: tuple[int, int] | None = None

    def fit(self) -> None:
        """Train to the last epoch; the network with the lowest validation loss is `best.keras`.

        Raises:
            ConfigError: when no epoch is left for the whole network.
            ModelError: when the network has no head to train alone.
            TrainingError: when the loss stops being finite.
            RunError: when the saved states are damaged or nothing can be written.
        """
        config, settings = self.config, self.config.training
        stages = stages_of(settings)
        # Decides the initial weights and the seed of dropout's generator.
        keras.utils.set_random_seed(config.seed)
        labels = self._labels("train")
        order, draws = epoch_order(labels, strategy=settings.sampling, seed=config.seed)
        steps = steps_per_epoch(draws, settings.batch_size)
        with self._on_devices():
            model = new_model(config, precision=self.execution.precision)
            if settings.mask_weight:
                model = add_lesion_head(model)
                self._grid = lesion_grid(model)
            average = WeightAverage(model, settings.ema) if settings.ema else None
        freezer = BackboneFreezer(model) if stages[0].head_only else None
        recorder = RunRecorder(self.folder, model, average=average, freezer=freezer)
        fitted, backbone = model, None
        if settings.cached_views:
            with self._on_devices():
                backbone, fitted = split_backbone_head(model)
            config = config.replace({"training": {"layer_decay": 1.0}})  # of a head it is 1

        # Resuming, in this order: the newest whole state if there is one, else from the start.
        # It is put into the stage that wrote it, whose optimizer it holds.
        state = load_state(self.folder)
        done = len(state.record["history"]) if state else 0
        for stage in stages:
            if done > stage.end_epoch:
                continue
            if freezer is not None:
                freezer.freeze() if stage.head_only else freezer.release()
            with self._on_devices():
                compile_model(
                    fitted,
                    config,
                    labels=labels,
                    steps_per_epoch=steps,
                    execution=self.execution,
                    first_epoch=stage.first_epoch,
                    metrics=self._metrics,
                )
            if state is not None:
                recorder.resume(state, fitted.optimizer)
                state = None
            if recorder.epochs_done < stage.end_epoch:
                epochs = recorder.epochs_done, stage.end_epoch
                with reraise_image_errors(), enough_memory():
                    if backbone is None:
                        batches = self._training_batches(order, *epochs)
                        validation = self._validation_batches()
                    else:
                        batches, validation = self._kept_batches(backbone, order, *epochs)
                    self._fit(fitted, batches, validation, steps, recorder, stage.end_epoch)

    def _on_devices(self) -> contextlib.AbstractContextManager:
        """Make variables on each of the devices that share a batch, if there are several."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def _fit(
        self, model, batches, validation, steps: int, recorder: RunRecorder, end_epoch: int
    ) -> None:
        steps *= self.execution.accumulation_steps
        averaging = [recorder.average] if recorder.average else []
        model.fit(
            batches,
            steps_per_epoch=steps,
            initial_epoch=recorder.epochs_done,
            epochs=end_epoch,
            validation_data=validation,
            callbacks=[
                TerminateOnNonFinite(),
                *averaging,
                recorder,
                ProgressBar(self.config.training.epochs, steps, recorder),
                keras.callbacks.TensorBoard(str(self.folder / LOGS_FOLDER), write_graph=False),
                *self._callbacks,
            ],
            shuffle=False,  # the dataset comes in the order of its epoch
            verbose=0,
        )

    def _kept_batches(
        self, backbone: keras.Model, order, first_epoch: int, end_epoch: int
    ) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """Return batches for training and validation, of what a frozen backbone makes of images."""
        settings = self.config.training
        if self._shared is None:
            train, val = self._views(backbone, "train"), self._clean(backbone, "val")
            parts = {"train": None, "val": None}
        else:
            whole = everything([self.tables[split] for split in SPLITS])
            self.tables[_EVERYTHING] = whole
            train, val = self._shared.get(
                fingerprint(self.config, backbone, whole["image_id"]),
                lambda: (self._views(backbone, _EVERYTHING), self._clean(backbone, _EVERYTHING)),
            )
            number = pd.Index(whole["image_id"])
            parts = {
                split: number.get_indexer(self.tables[split]["image_id"])
                for split in ("train", "val")
            }
        batches = train.training(
            order,
            part=parts["train"],
            batch_size=settings.batch_size,
            accumulation_steps=self.execution.accumulation_steps,
            first_epoch=first_epoch,
            epochs=end_epoch,
            **self._width,
        )
        return batches, val.once(part=parts["val"], batch_size=settings.batch_size)

    def _views(self, backbone: keras.Model, split: str) -> FeatureCache:
        """Return what the backbone makes of augmented views of a split's images."""
        count = len(self._labels(split))
        views = [
            self._training_batches(
                lambda epoch: tf.range(count), view, view + 1, split, accumulation_steps=1
            )
            for view in range(self.config.training.cached_views)
        ]
        return self._keep(backbone, views, count)

    def _clean(self, backbone: keras.Model, split: str) -> FeatureCache:
        """Return what the backbone makes of a split's images as they are."""
        count, batches = len(self._labels(split)), [self._validation_batches(split)]
        return self._keep(backbone, batches, count)

    def _keep(self, backbone: keras.Model, passes: list, count: int) -> FeatureCache:
        # Shared ones outlive the run.
        folder = self.folder if self._shared is None else self._shared.folder
        return FeatureCache(backbone, passes, images=count, folder=folder)

    def _training_batches(
        self,
        order,
        first_epoch: int,
        end_epoch: int,
        split: str = "train",
        *,
        accumulation_steps: int | None = None,
    ) -> tf.data.Dataset:
        config = self.config
        augmentation = config.augmentation
        return training_dataset(
            self._split_images(split),
            self._labels(split),
            classes=len(LABELS),
            order=order,
            augment=self._augmenter,
            masks=self._mask_targets(split),
            image_seed=functools.partial(image_seed, config.seed),
            mix=functools.partial(mixup, augmentation.mixup) if augmentation.mixup else None,
            normalize=self.transform.normalize,
            batch_size=config.training.batch_size,
            accumulation_steps=accumulation_steps or self.execution.accumulation_steps,
            first_epoch=first_epoch,
            epochs=end_epoch,
            **self._width,
        )

    def predict(self, model: keras.Model, split: str) -> np.ndarray:
        """Return the model's probabilities for a split's images, float64 [n, classes].

        They are averaged over the views that the settings ask for.
        """

        def in_view(view: View) -> np.ndarray:
            tone = lambda images: self.transform.normalize(see(view, images))  # noqa: E731
            with reraise_image_errors(), enough_memory():
                return model.predict(self._evaluation_batches(split, normalize=tone), verbose=0)

        return mean_over_views(in_view, VIEWS[self.config.evaluation.tta])

    def best_model(self) -> keras.Model:
        """Return the network with the lowest validation loss, loaded in safe mode, in float32.

        One that was trained in half precision is put into float32 first, in `best.keras` as well:
        what is judged is what is exported.
        """
        path = self.folder / BEST_FILE
        trained = load_network(path)
        if all(layer.compute_dtype == "float32" for layer in trained._flatten_layers()):
            return trained
        model = new_model(self.config)  # of the same weights, as presets bring layers of their own
        model.set_weights(trained.get_weights())
        with write_aside(path) as aside:
            model.save(aside)
        return model

    def _validation_batches(self, split: str = "val") -> tf.data.Dataset:
        batches = self._evaluation_batches(split)
        if self._grid is None:
            return batches
        # Cells that count for nothing: the epoch is chosen by the loss of the probabilities.
        cells = (*self._grid, 2)
        return batches.map(
            lambda images, targets: (
                images,
                {PROBABILITIES: targets, LESION_LOGITS: tf.zeros([tf.shape(targets)[0], *cells])},
            )
        )

    def _mask_targets(self, split: str) -> MaskTargets | None:
        if self._grid is None:
            return None
        return MaskTargets(
            self.tables[split],
            crop_and_resize=self.transform.crop_and_resize_mask,
            size=self.config.model.image_size,
            grid=self._grid,
            augment_masks=self._augmenter.augment_masks if self._augmenter else None,
            cache_mb=self.config.training.cache_mb,
        )

    def _evaluation_batches(self, split: str, *, normalize: Callable | None = None):
        return evaluation_dataset(
            self._split_images(split),
            self._labels(split),
            classes=len(LABELS),
            normalize=normalize or self.transform.normalize,
            batch_size=math.ceil(
                self.config.training.batch_size / self.execution.accumulation_steps
            ),
            **self._width,
        )

    def _split_images(self, split: str) -> ImageCache:
        if split not in self._images:
            self._images[split] = ImageCache(
                self.tables[split]["path"].tolist(),
                decode=self.transform.decode,
                size=self.config.model.image_size,
                cache_mb=self.config.training.cache_mb,
            )
        return self._images[split]

    def _labels(self, split: str) -> list[int]:
        return [label_id(label) for label in self.tables[split]["label"]]


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Raise a RunError with the way out when TensorFlow runs out of memory in the block."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            f"Memory or disk is exhausted: {str(error).splitlines()[0]}. Try a smaller batch "
            "(--set training.batch_size=8) or image (--set model.image_size=...), or free some "
            "space."
        ) from error
