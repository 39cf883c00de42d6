"""The run folder: every file in it is named, read and written here.

runs/compact/
  config.yaml, environment.json                     settings; versions, hardware, seed
  manifest.csv, splits.csv                          images, and the split of each
  history.csv, logs/, best.keras                    training
  predictions_val.csv, predictions_test.csv         probabilities before and after calibration
  decision.json, metrics.json, shortcuts.json       calibration and threshold; scores
  training_features.npz                             to find similar training images
  robustness.json                                   only if it was measured
  explanation.json, lesion_maps.npz                 only if `breastus explain` measured its maps
  twins.csv                                         only if the split separates groups
  report.html, figures/, external/<data set>/       for readers
  bundle/                                           written last: a run that has it is finished
  state.npz, state_previous.npz                     of a training that is not finished
"""

import contextlib
import importlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import filelock
import numpy as np
import pandas as pd

from breastus.config.schema import Config
from breastus.data.manifest.schema import MANIFEST_FILE
from breastus.data.sources.tables import read_table
from breastus.data.splits.make import read_splits, write_splits
from breastus.errors import ConfigError, RunError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import read_predictions, write_predictions
from breastus.preprocessing.version import check_transform
from breastus.runs.report_folder import ReportFolder, read_config
from breastus.utils.files import read_json, write_aside, write_csv, write_json, write_text

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
SPLITS_FILE = "splits.csv"
HISTORY_FILE = "history.csv"
LOGS_FOLDER = "logs"  # for TensorBoard
BEST_FILE = "best.keras"  # the network of the epoch that was kept, see `kept_epoch`
DECISION_FILE = "decision.json"
SHORTCUTS_FILE = "shortcuts.json"
FEATURES_FILE = "training_features.npz"
EXPLANATION_FILE = "explanation.json"
LESION_MAPS_FILE = "lesion_maps.npz"
TWINS_FILE = "twins.csv"  # test images that have a twin in training
BUNDLE_FOLDER = "bundle"
STATE_FILE = "state.npz"
PREVIOUS_STATE_FILE = "state_previous.npz"

_PREDICTED = ("val", "test")
_LOCK_FILE = ".lock"
_OUTDATED_BUNDLE = ".bundle-outdated"  # while an evaluation writes another one
_WAY_OUT = "Choose another --out, or delete it."


class Run(ReportFolder):
    """A training run on disk.

    Args:
        path: the run folder.
    """

    WAY_OUT: ClassVar[str] = (
        "The run was not finished. Run the same training command again to continue it."
    )

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Open a run folder.

        Raises:
            RunError: if the folder is missing or is not a run.
        """
        path = Path(path)
        if not cls.is_one(path):
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG_FILE}. Name a run such as "
                "runs/cnn. A bundle or a cross-validation can be evaluated only with --data."
            )
        return cls(path)

    @classmethod
    def is_one(cls, path: str | Path) -> bool:
        """Whether a folder holds a run, finished or not."""
        return (Path(path) / CONFIG_FILE).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run was trained, evaluated and exported."""
        return self.latest_bundle is not None

    @property
    def has_state(self) -> bool:
        """Whether the state of a training remains, which is discarded when its command ends."""
        return self.has(STATE_FILE) or self.has(PREVIOUS_STATE_FILE)

    @property
    def begun(self) -> bool:
        """Whether manifest and splits were written."""
        return self.has(MANIFEST_FILE) and self.has(SPLITS_FILE)

    @cached_property
    def config(self) -> Config:
        """The settings of the run.

        Raises:
            RunError: if an earlier version wrote them and this one does not know them all.
        """
        return read_config(self.path / CONFIG_FILE)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware, seed, data fingerprint and timing."""
        return read_json(self.file(ENVIRONMENT_FILE))

    def write_config(self, config: Config) -> None:
        """Write config.yaml."""
        write_text(self.path / CONFIG_FILE, config.to_yaml())
        self.__dict__.pop("config", None)

    def write_environment(self, values: dict[str, Any]) -> None:
        """Write environment.json."""
        self._write_json(ENVIRONMENT_FILE, values, "environment")

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch: losses, accuracies, learning rate, seconds."""
        return pd.read_csv(self.file(HISTORY_FILE))

    @property
    def network(self) -> Path:
        """The trained network, a `.keras` file.

        Raises:
            RunError: see `check_transform`.
        """
        self.check_transform()
        return self.file(BEST_FILE)

    def check_transform(self) -> None:
        """Check that the network can be applied to images here.

        Raises:
            RunError: if it was trained with another version of the image transform.
        """
        check_transform(self.path, self.environment.get("transform"), RunError)

    @property
    def bundle(self) -> Path:
        """The folder that `breastus.Predictor` loads.

        Raises:
            RunError: if the run is not finished, or an evaluation of it was interrupted.
        """
        if self.finished and not self.has(BUNDLE_FOLDER):
            raise RunError(
                f"An evaluation of {self.path} was interrupted before it wrote the bundle. Run "
                f"breastus evaluate {self.path} again."
            )
        return self.file(BUNDLE_FOLDER)

    @property
    def latest_bundle(self) -> Path | None:
        """The bundle, or an outdated one that an interrupted evaluation left; None if neither."""
        for name in (BUNDLE_FOLDER, _OUTDATED_BUNDLE):
            if self.has(name):
                return self.path / name
        return None

    @contextlib.contextmanager
    def replacing_bundle(self) -> Iterator[Path]:
        """Yield the bundle under another name while the block changes the run and its bundle.

        So a run and its bundle never disagree: if the block is interrupted, there is no bundle, and
        the next evaluation continues from the outdated one.
        """
        outdated = self.path / _OUTDATED_BUNDLE
        if self.has(BUNDLE_FOLDER):
            shutil.rmtree(outdated, ignore_errors=True)
            os.replace(self.path / BUNDLE_FOLDER, outdated)
        yield outdated
        shutil.rmtree(outdated, ignore_errors=True)

    def read_splits(self, manifest: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return `image_id`, `split` and `fold` of the images, checked against the manifest."""
        manifest = manifest if manifest is not None else self.read_manifest()
        return read_splits(self.file(SPLITS_FILE), manifest)

    def write_splits(self, splits: pd.DataFrame) -> None:
        """Write splits.csv."""
        write_splits(splits, self.path / SPLITS_FILE)

    def read_images(self) -> pd.DataFrame:
        """Return the manifest rows of the images in a split, with columns `split` and `fold`."""
        manifest = self.read_manifest()
        rows = self.read_splits(manifest)
        return rows.merge(manifest, on="image_id", how="left", validate="one_to_one")

    def read_predictions(self, split: str) -> pd.DataFrame:
        """Return the predictions of a split, "val" or "test".

        Raises:
            RunError: if there are none.
            DataError: if they are damaged.
        """
        return read_predictions(self.file(f"predictions_{split}.csv"))

    def read_all_predictions(self) -> dict[str, pd.DataFrame]:
        """Return the predictions of "val" and "test" by split."""
        return {split: self.read_predictions(split) for split in _PREDICTED}

    def write_predictions(self, split: str, table: pd.DataFrame) -> None:
        """Write the predictions of a split, "val" or "test"."""
        write_predictions(table, self.path / f"predictions_{split}.csv")

    def read_decision(self) -> Decision:
        """Return calibration, threshold and referral."""
        return Decision.from_dict(read_json(self.file(DECISION_FILE)))

    def write_decision(self, decision: Decision) -> None:
        """Write decision.json."""
        write_json(self.path / DECISION_FILE, decision.to_dict())

    def read_shortcuts(self) -> dict[str, Any] | None:
        """Return the result of the shortcut test; None if it was not run."""
        return read_json(self.path / SHORTCUTS_FILE) if self.has(SHORTCUTS_FILE) else None

    def write_shortcuts(self, result: dict[str, Any]) -> None:
        """Write shortcuts.json."""
        write_json(self.path / SHORTCUTS_FILE, result)

    @property
    def training_features(self) -> Path | None:
        """The file of `TrainingFeatures`; None in a run of an earlier version."""
        return self.path / FEATURES_FILE if self.has(FEATURES_FILE) else None

    def read_explanation(self) -> dict[str, Any] | None:
        """Return how well the lesion maps point at lesions; None if it was not measured."""
        return read_json(self.path / EXPLANATION_FILE) if self.has(EXPLANATION_FILE) else None

    def write_explanation(self, result: dict[str, Any], maps: dict[str, np.ndarray]) -> None:
        """Write explanation.json, and the lesion maps of the test images for the report.

        `maps` are uint8 [64, 64] by image id: the original image, stretched to a square.
        """
        arrays = {"image_id": np.array(list(maps)), "maps": np.stack(list(maps.values()))}
        with write_aside(self.path / LESION_MAPS_FILE) as aside:
            np.savez_compressed(aside, **arrays)
        write_json(self.path / EXPLANATION_FILE, result)

    def read_lesion_maps(self) -> dict[str, np.ndarray]:
        """Return the lesion maps of the test images as `write_explanation` got them, if any."""
        if not self.has(LESION_MAPS_FILE):
            return {}
        with np.load(self.path / LESION_MAPS_FILE, allow_pickle=False) as stored:
            return dict(zip(stored["image_id"].tolist(), stored["maps"], strict=True))

    def read_twins(self) -> dict[str, str] | None:
        """Return test image to its twin in training, by image id; None if the split cannot leak."""
        if not self.has(TWINS_FILE):
            return None
        table = read_table(self.path / TWINS_FILE, ["image_id", "duplicate_id"], strip=False)
        return dict(zip(table["image_id"], table["duplicate_id"], strict=True))

    def write_twins(self, found: pd.DataFrame) -> None:
        """Write twins.csv: rows of `breastus.auditing.leakage.twins_in_training` about test."""
        write_csv(self.path / TWINS_FILE, found)

    def _repr_html_(self) -> str:
        """Show verdict, key numbers and links in a notebook."""
        # By name, since reporting builds on this module.
        return importlib.import_module("breastus.reporting.notebook").run_html(self)

    def write_comparison(self, other: "Run", result: dict[str, Any]) -> None:
        """Write comparison-<other>.json."""
        write_json(self.path / f"comparison-{other.path.name}.json", result)


def kept_epoch(history: Mapping[str, Sequence[float]], checkpoint: str) -> int:
    """Return the epoch, from 1, whose network a run kept.

    Args:
        history: columns of history.csv.
        checkpoint: the setting `training.checkpoint`.
    """
    if checkpoint == "last":
        return len(history["val_loss"])
    if checkpoint == "accuracy":
        return 1 + int(np.nanargmax(history["val_accuracy"]))
    return 1 + int(np.nanargmin(history["val_loss"]))


@contextlib.contextmanager
def open_run(
    out: str | Path | None, config: Config, *, resume: Callable[[Config], Config]
) -> Iterator[Run]:
    """Create a run folder, or resume an unfinished one with the same settings, and lock it.

    Without `out`, this takes the first of `runs/<model>`, `runs/<model>-2`, ... that is free or
    unfinished with the same settings. No other process gets the folder while the block runs. A
    block that fails before the data were split leaves no folder behind.

    Args:
        out: the folder.
        config: all settings, none left to the hardware; `run.config` returns them.
        resume: function from the settings of an unfinished run to those to resume it with, as some
            depend on the hardware.

    Raises:
        RunError: if `out` holds a finished run, a run with other settings or something else, or
            if another process uses it.
    """
    for path in _candidates(out, config):
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        lock = filelock.FileLock(path / _LOCK_FILE, timeout=0)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            settings = _usable_with(path, config, resume)
        except (filelock.Timeout, RunError, OSError) as error:
            lock.release()
            if out is None and isinstance(error, RunError | filelock.Timeout):
                continue
            raise _refusal(path, error) from error
        run = Run(path)
        run.write_config(settings)
        try:
            yield run
        except BaseException:
            lock.release()
            if not run.begun:
                _discard(path, new)
            raise
        finally:
            lock.release()
        return
    raise RunError("runs/ is full of finished runs. Choose a folder with --out.")


def _candidates(out: str | Path | None, config: Config) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    name = config.model.name
    yield Path("runs", name)
    yield from (Path("runs", f"{name}-{number}") for number in range(2, 10_000))


def _usable_with(path: Path, config: Config, resume: Callable[[Config], Config]) -> Config:
    """Return the settings with which a folder can hold this run, as for `open_run`."""
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if not names:
        return config
    begun = SPLITS_FILE in names  # written once the images were found and split
    if CONFIG_FILE not in names or not (begun or names <= {CONFIG_FILE, MANIFEST_FILE}):
        raise RunError(f"{path} exists and is not a run folder. {_WAY_OUT}")
    run = Run(path)
    if run.finished and not run.has_state:  # with a state, its command was not finished
        raise RunError(f"{path} holds a finished run. {_WAY_OUT}")
    try:
        if run.has(ENVIRONMENT_FILE):  # written before the training
            run.check_transform()
        config = resume(run.config)
    except (ConfigError, RunError) as error:
        raise RunError(f"{path} cannot be resumed. {error} {_WAY_OUT}") from error
    changed = run.config.differences(config)
    if changed and begun:
        raise RunError(
            f"{path} holds an unfinished run with other settings ({'; '.join(changed)}). To "
            f"continue it, use the settings it was started with. {_WAY_OUT}"
        )
    return config


def _refusal(path: Path, error: Exception) -> RunError:
    if isinstance(error, RunError):
        return error
    if isinstance(error, filelock.Timeout):
        return RunError(f"{path} is in use by another training. Choose another --out.")
    return RunError(
        f"The run folder {path} cannot be created: {error.strerror}. Choose another --out."
    )


def _discard(path: Path, new: list[Path]) -> None:
    """Remove what `open_run` created: files that say nothing yet, and folders that are empty."""
    for name in (CONFIG_FILE, MANIFEST_FILE, _LOCK_FILE):
        (path / name).unlink(missing_ok=True)
    for folder in new:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
