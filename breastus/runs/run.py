"""A run folder: where it is made, taken up again, or refused, and how a finished one is read."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import filelock
import pandas as pd

from breastus.config.schema import Config
from breastus.errors import ConfigError, RunError
from breastus.utils.files import read_json, write_text

CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.csv"
SPLITS_FILE = "splits.csv"
DECISION_FILE = "decision.json"
METRICS_FILE = "metrics.json"
SHORTCUTS_FILE = "shortcuts.json"
ENVIRONMENT_FILE = "environment.json"
BUNDLE_FOLDER = "bundle"  # written last: a run that has it is finished


@dataclass(frozen=True)
class Run:
    """A training run on disk.

    Args:
        path: the run folder.
    """

    path: Path

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Open a run folder.

        Raises:
            RunError: when the folder is missing or is not a run.
        """
        path = Path(path)
        if not (path / CONFIG_FILE).is_file():
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG_FILE}. Name one such as runs/cnn. "
                "A bundle, or a cross-validation, is judged with --data alone."
            )
        return cls(path)

    @property
    def finished(self) -> bool:
        """Whether the run was trained, judged and exported to its end."""
        return (self.path / BUNDLE_FOLDER).is_dir()

    @cached_property
    def config(self) -> Config:
        """The settings the run was started with."""
        return Config.from_yaml(self.path / CONFIG_FILE)

    @cached_property
    def environment(self) -> dict:
        """Versions, hardware, seed, data fingerprint and timing."""
        return self._json(ENVIRONMENT_FILE)

    @cached_property
    def metrics(self) -> dict:
        """Metrics with intervals, as in metrics.json: `run.metrics["test"]["roc_auc"]["value"]`."""
        return self._json(METRICS_FILE)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch: losses, accuracies, learning rate, seconds."""
        return pd.read_csv(self.file("history.csv"))

    @property
    def bundle(self) -> Path:
        """The folder that `breastus.Predictor` loads."""
        return self.file(BUNDLE_FOLDER)

    def _json(self, name: str) -> dict:
        return read_json(self.file(name))

    def file(self, name: str) -> Path:
        """Return the path of a file that the run wrote.

        Raises:
            RunError: when it is not there.
        """
        path = self.path / name
        if not path.exists():
            raise RunError(
                f"{path} does not exist: the run was not finished. Run the same training command "
                "again to go on with it."
            )
        return path


@contextlib.contextmanager
def open_run(
    out: str | Path | None,
    config: Config,
    *,
    resume: Callable[[Config], Config] | None = None,
) -> Iterator[Run]:
    """Make a run folder, or take up an unfinished one with the same settings, and hold it.

    Without `out`, the first of `runs/<model>`, `runs/<model>-2`, ... that is free, or unfinished
    with the same settings, is taken. While the block runs, no other process gets the folder.

    Args:
        out: the folder.
        config: all settings, of which nothing is left to the machine; the run has them as
            `.config`.
        resume: (the settings of an unfinished run) to those that it would be taken up with, where
            the machine had decided something then; None takes `config`.

    Raises:
        RunError: when `out` holds a finished run, a run with other settings, something that is no
            run, or is in use.
    """
    if out is not None:
        candidates = iter([Path(out)])
    else:
        numbers = range(1, 10_000)
        names = (config.model.name if n == 1 else f"{config.model.name}-{n}" for n in numbers)
        candidates = (Path("runs", name) for name in names)

    for path in candidates:
        with contextlib.ExitStack() as stack:
            try:
                path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(filelock.FileLock(path / ".lock", timeout=0))
                settings = _usable_with(path, config, resume or (lambda _: config))
            except filelock.Timeout:
                if out is None:
                    continue
                raise RunError(
                    f"{path} is being trained by another process. Choose another --out."
                ) from None
            except RunError:
                if out is None:
                    continue
                raise
            except OSError as error:
                raise RunError(
                    f"The run folder {path} cannot be made: {error.strerror}. Choose another --out."
                ) from error
            write_text(path / CONFIG_FILE, settings.to_yaml())
            yield Run(path)
            return
    raise RunError("runs/ is full of finished runs. Choose a folder with --out.")


def _usable_with(path: Path, config: Config, resume: Callable[[Config], Config]) -> Config:
    """Return the settings with which a folder can be a run's, as for `open_run`."""
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if not names:
        return config
    way_out = "Choose another --out, or delete it."
    begun = SPLITS_FILE in names  # written once the data could be had and split
    if CONFIG_FILE not in names or not (begun or names <= {CONFIG_FILE, MANIFEST_FILE}):
        raise RunError(f"{path} exists and is not a run folder. {way_out}")
    run = Run(path)
    if run.finished:
        raise RunError(f"{path} holds a finished run. {way_out}")
    try:
        config = resume(run.config)
        changed = run.config.differences(config)
    except ConfigError as error:
        raise RunError(f"{path} cannot be taken up. {error} {way_out}") from error
    if changed and begun:
        raise RunError(
            f"{path} holds an unfinished run with other settings ({'; '.join(changed)}). To go on "
            f"with it, use the settings it was started with. {way_out}"
        )
    return config
