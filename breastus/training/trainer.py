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
from breastus.labels import SPLITS, TARGETS
from breastus.models.backbone import nested_layers, split_backbone_head
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.runs.run import BEST_FILE, HISTORY_FILE, LOGS_FOLDER
from breastus.training.callbacks.epoch_end import (
    BestCheckpoint,
    CompileTime,
    HistoryLogger,
    LazyCallbackList,
    ProgressBar,
    TerminateOnNonFinite,
)
from breastus.training.callbacks.registry import make_callbacks
from breastus.training.callbacks.weight_averaging import WeightAverage
from breastus.training.feature_cache import FeatureCache, SharedFeatureCache, fingerprint
from breastus.training.hardware.fallback import train_with_fallback
from breastus.training.hardware.profiles import strategy
from breastus.training.lesion_head import (
    LESION_LOGITS,
    PROBABILITIES,
    add_lesion_head,
    lesion_grid,
)
from breastus.training.network import Execution, compile_model, execution_of, new_model
from breastus.training.predict_fn import mean_over_views, view_images
from breastus.training.prior_correction import check_correctable, correct_findings
from breastus.training.sampling import epoch_order
from breastus.training.stages import BackboneFreezer, stages_of
from breastus.training.state import TrainingState
from breastus.training.targets import class_ids
from breastus.utils.files import write_aside
from breastus.utils.threads import usable_cores

_ALL = "train, val and test"  # a key of `tables` beside these


class Trainer:
    """Trains one network in one run folder; called again after a kill, it continues.

    Args:
        folder: the run folder.
        config: the experiment's settings.
        tables: "train", "val" and "test" to manifest rows (columns `path`, `label`, `finding`).
        callbacks: further Keras callbacks. Their counters are part of the training state.
        metrics: further Keras metrics of the network's probabilities, columns of `history.csv`.
        shared: features of cached views (`training.cached_views`) for several runs; None computes
            them for this run.
        remember: called with an execution that replaces one which failed.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        tables: Mapping[str, pd.DataFrame],
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        metrics: Sequence[keras.metrics.Metric | Callable | str] = (),
        shared: SharedFeatureCache | None = None,
        remember: Callable[[Execution], None] = lambda execution: None,
    ):
        self.folder = folder
        self.config = config
        self.tables = dict(tables)
        self.transform = Transform.from_config(config)
        self.execution = execution_of(config)
        self._remember = remember
        self._callbacks = [*make_callbacks(config.training.callbacks), *callbacks]
        self._metrics, self._shared = list(metrics), shared
        # Of the machine that trains: a prediction needs no device of the training.
        self._strategy: tf.distribute.Strategy | None = None
        self._images: dict[str, ImageCache] = {}
        self._masks: dict[str, MaskTargets] = {}
        self._augmenter = build_augmenter(
            config.augmentation.policy, erasing=config.augmentation.erasing
        )
        # Of the lesion logits, if the network learns from masks.
        self._grid: tuple[int, int] | None = None
        # Of all images as they are, in the order of `tables[_ALL]`, if runs share them.
        self._plain_features: FeatureCache | None = None

    def fit(self) -> None:
        """Train to the last epoch; `best.keras` is the network of `training.checkpoint`.

        If memory is exhausted or XLA fails, the training continues from its last state in smaller
        parts of a batch, or without XLA.
        """
        self._strategy = strategy(self.config)
        with enough_memory():
            train_with_fallback(
                self._fit_from_state,
                self.execution,
                self.config,
                devices=self._strategy.num_replicas_in_sync if self._strategy else 1,
                changed=self._remember,
            )

    def _fit_from_state(self, execution: Execution) -> None:
        """Train to the last epoch, from the last state of the run folder or from the seed."""
        self.execution = execution
        config, settings = self.config, self.config.training
        stages = stages_of(settings)
        # Decides the initial weights and the seed of dropout's generator.
        keras.utils.set_random_seed(config.seed)
        labels = class_ids(self.tables["train"], settings.target)
        order, draws = epoch_order(labels, strategy=settings.sampling, seed=config.seed)
        steps = steps_per_epoch(draws, settings.batch_size)
        with self._on_devices():
            model = new_model(config, precision=self.execution.precision)
            check_correctable(model, settings)
            if settings.mask_weight:
                model = add_lesion_head(model)
                self._grid = lesion_grid(model)
            average = WeightAverage(model, settings.ema) if settings.ema else None
        freezer = BackboneFreezer(model) if stages[0].head_only else None
        fitted, backbone = model, None
        if settings.cached_views:
            with self._on_devices():
                backbone, fitted = split_backbone_head(model)
            config = config.replace({"training": {"layer_decay": 1.0}})  # of a head it is 1

        path = self.folder / BEST_FILE
        checkpoint = BestCheckpoint(
            path, model, kept=settings.checkpoint, average=average, freezer=freezer
        )
        history = HistoryLogger(self.folder / HISTORY_FILE)
        state = TrainingState(
            self.folder,
            model,
            checkpoint=checkpoint,
            history=history,
            average=average,
            callbacks=self._callbacks,
            accumulation_steps=execution.accumulation_steps,
        )
        averaging = [average] if average is not None else []
        callbacks = [*averaging, *self._callbacks, checkpoint, history, state]
        # A saved state is restored in the stage that wrote it, whose optimizer it holds.
        for stage in stages:
            if state.epochs_done > stage.end_epoch:
                continue
            if freezer is not None:
                freezer.freeze() if stage.head_only else freezer.release()
            with self._on_devices():
                compile_model(
                    fitted,
                    config,
                    labels=labels,
                    steps_per_epoch=steps,
                    execution=execution,
                    first_epoch=stage.first_epoch,
                    metrics=self._metrics,
                )
            state.restore(fitted.optimizer)
            if state.stopped:  # by a callback
                break
            if state.epochs_done == stage.end_epoch:
                continue
            epochs = state.epochs_done, stage.end_epoch
            with reraise_image_errors():
                if backbone is None:
                    batches = self._training_batches(order, *epochs)
                    validation = self._validation_batches()
                else:
                    batches, validation = self._cached_batches(backbone, order, *epochs)
                self._fit(fitted, batches, validation, steps, epochs, callbacks, checkpoint)
            if state.stopped:
                break

    def _on_devices(self) -> contextlib.AbstractContextManager:
        """Create variables on each of the devices that share a batch, if there are several."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def _fit(
        self,
        model: keras.Model,
        batches: tf.data.Dataset,
        validation: tf.data.Dataset,
        steps: int,
        epochs: tuple[int, int],
        callbacks: list[keras.callbacks.Callback],
        checkpoint: BestCheckpoint,
    ) -> None:
        steps *= self.execution.accumulation_steps
        first, end = epochs
        total = self.config.training.epochs
        compiling = [CompileTime()] if self.execution.jit_compile else []
        callbacks = [
            *compiling,
            TerminateOnNonFinite(),
            *callbacks,
            ProgressBar(total, steps, initial_epoch=first, checkpoint=checkpoint),
            keras.callbacks.TensorBoard(str(self.folder / LOGS_FOLDER), write_graph=False),
        ]
        model.fit(
            batches,
            steps_per_epoch=steps,
            initial_epoch=first,
            epochs=end,
            validation_data=validation,
            callbacks=LazyCallbackList(
                callbacks, add_history=True, model=model, epochs=end, steps=steps
            ),
            shuffle=False,  # the dataset comes in the order of its epoch
            verbose=0,
        )

    def _cached_batches(
        self, backbone: keras.Model, order, first_epoch: int, end_epoch: int
    ) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """Return training and validation batches of the features of a frozen backbone."""
        settings = self.config.training
        rows = {"train": None, "val": None}
        if self._shared is None:
            train = self._features(backbone, "train", augmented=True)
            val = self._features(backbone, "val", augmented=False)
        else:
            # In the order of their ids, which no split changes.
            table = pd.concat([self.tables[split] for split in SPLITS], ignore_index=True)
            table = table.sort_values("image_id", ignore_index=True)
            self.tables[_ALL] = table
            train, val = self._shared.get(
                fingerprint(self.config, backbone, table["image_id"]),
                lambda: (
                    self._features(backbone, _ALL, augmented=True),
                    self._features(backbone, _ALL, augmented=False),
                ),
            )
            self._plain_features = val
            rows = {split: self._shared_rows(split) for split in rows}
        batches = train.training(
            order,
            rows=rows["train"],
            batch_size=settings.batch_size,
            accumulation_steps=self.execution.accumulation_steps,
            first_epoch=first_epoch,
            epochs=end_epoch,
            parallel_calls=usable_cores(),
        )
        return batches, val.once(rows=rows["val"], batch_size=settings.batch_size)

    def _shared_rows(self, split: str) -> np.ndarray:
        """Return the places of a split's images in the shared features."""
        index = pd.Index(self.tables[_ALL]["image_id"])
        return index.get_indexer(self.tables[split]["image_id"])

    def _features(self, backbone: keras.Model, split: str, *, augmented: bool) -> FeatureCache:
        """Return the features of a split's images, of augmented views or of the images alone."""
        count = len(self.tables[split])
        if augmented:
            passes = [
                self._training_batches(
                    lambda epoch: tf.range(count), view, view + 1, split, single_parts=True
                )
                for view in range(self.config.training.cached_views)
            ]
        else:
            passes = [self._validation_batches(split)]
        # Shared ones outlive the run.
        folder = self._shared.folder if self._shared is not None else self.folder
        dtype = np.float16 if augmented else np.float32  # predictions are computed from the latter
        return FeatureCache(backbone, passes, images=count, folder=folder, dtype=dtype)

    def _training_batches(
        self,
        order,
        first_epoch: int,
        end_epoch: int,
        split: str = "train",
        *,
        single_parts: bool = False,
    ) -> tf.data.Dataset:
        """Return batches cut into parts, or the parts alone, as for the features of a backbone."""
        config = self.config
        augmentation = config.augmentation
        return training_dataset(
            self._split_images(split),
            class_ids(self.tables[split], config.training.target),
            classes=len(TARGETS[config.training.target]),
            order=order,
            augment=self._augmenter,
            masks=self._mask_targets(split),
            image_seed=functools.partial(image_seed, 0 if split == _ALL else config.seed),
            mix=functools.partial(mixup, augmentation.mixup) if augmentation.mixup else None,
            normalize=self.transform.normalize,
            batch_size=self._part if single_parts else config.training.batch_size,
            accumulation_steps=1 if single_parts else self.execution.accumulation_steps,
            first_epoch=first_epoch,
            epochs=end_epoch,
            parallel_calls=usable_cores(),
        )

    def predict(self, model: keras.Model, split: str) -> np.ndarray:
        """Return a split's probabilities, float64 [n, classes], averaged over `evaluation.tta`."""
        views = VIEWS[self.config.evaluation.tta]
        return mean_over_views(lambda view: self.outputs(model, split, view), views)

    def outputs(self, model: keras.Model, split: str, view: View = VIEWS["none"][0]) -> np.ndarray:
        """Return what a model computes of a split's images in one view, [n, ...].

        Shared features of a frozen backbone are not computed again.
        """
        batching, in_float32 = self._evaluation_batching(), self.execution.precision == "float32"
        if self._plain_features is not None and in_float32 and view == View():
            _, head = split_backbone_head(model)
            rows, size = self._shared_rows(split), batching["batch_size"]
            batches = self._plain_features.once(rows=rows, batch_size=size)
            return head.predict(batches.map(lambda features, _: features), verbose=0)
        batches = evaluation_dataset(
            self._split_images(split),
            normalize=lambda images: self.transform.normalize(view_images(view, images)),
            **batching,
        )
        with reraise_image_errors(), enough_memory():
            return model.predict(batches, verbose=0)

    def best_model(self) -> keras.Model:
        """Return the network of the epoch that was kept, loaded in safe mode, in float32.

        A network that was trained in half precision is converted to float32 first, and one that
        learned findings is corrected for their weights, in `best.keras` too: the network that is
        evaluated is the one that is exported.
        """
        path, target = self.folder / BEST_FILE, self.config.training.target
        model = trained = load_network(path)
        if any(layer.compute_dtype != "float32" for layer in nested_layers(trained)):
            model = new_model(self.config)  # with the same weights: presets bring their own layers
            model.jit_compile = False  # as `load_network` says
            model.set_weights(trained.get_weights())
        classes = class_ids(self.tables["train"], target)
        corrected = correct_findings(model, self.config.training, classes)
        if model is trained and not corrected:
            return model
        with write_aside(path) as aside:
            model.save(aside)
        return model

    def _validation_batches(self, split: str = "val") -> tf.data.Dataset:
        batches = evaluation_dataset(
            self._split_images(split),
            class_ids(self.tables[split], self.config.training.target),
            classes=len(TARGETS[self.config.training.target]),
            normalize=self.transform.normalize,
            **self._evaluation_batching(),
        )
        if self._grid is None:
            return batches
        # The cells have weight 0: the epoch is chosen by the loss of the probabilities.
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
        if split not in self._masks:
            self._masks[split] = MaskTargets(
                self.tables[split],
                crop_and_resize=self.transform.crop_and_resize_mask,
                size=self.config.model.image_size,
                grid=self._grid,
                augment_masks=self._augmenter.augment_masks if self._augmenter else None,
                cache_mb=self.config.training.cache_mb,
            )
        return self._masks[split]

    def _evaluation_batching(self) -> dict[str, int]:
        return {"batch_size": self._part, "parallel_calls": usable_cores()}

    @property
    def _part(self) -> int:
        """Number of images that are in memory at a time."""
        return math.ceil(self.config.training.batch_size / self.execution.accumulation_steps)

    def _split_images(self, split: str) -> ImageCache:
        if split not in self._images:
            self._images[split] = ImageCache(
                self.tables[split]["path"].tolist(),
                crop_and_resize=self.transform.crop_and_resize,
                size=self.config.model.image_size,
                cache_mb=self.config.training.cache_mb,
            )
        return self._images[split]


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Raise a RunError that says what to do if TensorFlow runs out of memory in the block."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            f"Memory or disk space is exhausted: {str(error).splitlines()[0]}. Try a smaller batch "
            "(--set training.batch_size=8), smaller images (--set model.image_size=...), or free "
            "some space."
        ) from error
