"""The bundle folder: every file in it is named, read and checked here, without TensorFlow.

models/cnn/
  saved_model/       raw pixels or file bytes in, calibrated probabilities out
  model.onnx         the same from pixels, for ONNX Runtime; only if it was exported
  model.tflite       the same from the pixels of one image, for LiteRT; only if it was exported
  bundle.json        labels, threshold, calibrator, metrics with intervals, what it was trained on
  model.keras        the network alone, z-scored images in
  MODEL_CARD.md      the same for a reader
  seen_images.txt    shortened checksums of the images that took part in training
  training_features.npz   what the network computes of the training images, to find similar ones
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from breastus.errors import BundleError, RunError
from breastus.preprocessing.version import TRANSFORM_VERSION, check_transform
from breastus.utils.files import sha256_of, write_folder_aside, write_json, write_text

FORMAT = 2
METADATA_FILE = "bundle.json"
NETWORK_FILE = "model.keras"
SAVED_MODEL = "saved_model"
GRAPHS = {"tensorflow": SAVED_MODEL, "onnx": "model.onnx", "litert": "model.tflite"}  # by runtime
CARD_FILE = "MODEL_CARD.md"
SEEN_FILE = "seen_images.txt"
FEATURES_FILE = "training_features.npz"
SEEN_DIGITS = 16  # of a SHA-256: enough to recognise a file, too few to be worth collecting
# The bundle that ships with the repository; an installed package has none.
_SHIPPED = Path(__file__).parents[2] / "models" / "busi"
RUN_BUNDLE = "bundle"  # as `breastus.runs.run.BUNDLE_FOLDER`, whose module needs pandas
_REQUIRED = ("files", "labels", "threshold", "metrics", "trained_on", "input_statistics")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk."""

    path: Path
    metadata: dict[str, Any]  # content of bundle.json

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Bundle":
        """Read a bundle's metadata and check its files."""
        path = Path(path)
        metadata = _read_metadata(path)
        found = checksums(path)
        expected = metadata["files"]
        if damaged := [name for name, sha256 in expected.items() if found.get(name) != sha256]:
            raise BundleError(
                f"{path} is damaged or was changed: {', '.join(damaged)} do not match their "
                f"checksum in {METADATA_FILE}. Copy or export the bundle again."
            )
        return cls(path, metadata)

    @property
    def network(self) -> Path:
        """The network alone, a `.keras` file.

        Raises:
            BundleError: if the bundle was exported without it.
        """
        if NETWORK_FILE not in self.metadata["files"]:
            raise BundleError(
                f"{self.path} holds no {NETWORK_FILE}, which this needs. Export the run again with "
                "--format keras or saved_model."
            )
        return self.path / NETWORK_FILE

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The names of the runtimes that the bundle holds a graph for, in the order of `GRAPHS`."""
        tops = {name.split("/")[0] for name in self.metadata["files"]}
        return tuple(runtime for runtime, file in GRAPHS.items() if file in tops)

    @property
    def training_features(self) -> Path | None:
        """The file of `TrainingFeatures`; None in a bundle without it."""
        path = self.path / FEATURES_FILE
        return path if path.is_file() else None

    @cached_property
    def seen(self) -> frozenset[str]:
        """First `SEEN_DIGITS` digits of the SHA-256 of each image that took part in training."""
        return frozenset((self.path / SEEN_FILE).read_text(encoding="utf-8").split())

    def has_seen(self, sha256: str) -> bool:
        """Whether the file with this SHA-256 took part in training or validation."""
        return sha256[:SEEN_DIGITS] in self.seen


def is_bundle(path: str | os.PathLike) -> bool:
    """Whether a folder holds a bundle, complete or not."""
    return (Path(path) / METADATA_FILE).is_file()


def is_model(path: str | os.PathLike) -> bool:
    """Whether a path is a bundle, if a damaged one, a run or a cross-validation."""
    path = Path(path)
    if is_bundle(path) or is_bundle(path / RUN_BUNDLE) or (path / SAVED_MODEL).is_dir():
        return True
    if not (path.is_dir() and _reads_runs()):
        return False
    from breastus.runs.cross_validation import CrossValidation
    from breastus.runs.run import Run

    return Run.is_one(path) or CrossValidation.is_one(path)


def shipped_bundle() -> Path:
    """Return the bundle that ships with the repository.

    Raises:
        BundleError: without one, as in a package that was not installed from a clone.
    """
    if not is_bundle(_SHIPPED):
        raise BundleError(
            f"No model is named, and the one of the repository is not at {_SHIPPED}. Name a bundle "
            "or a finished run, such as models/efficientnet_lite0, before the images."
        )
    return _SHIPPED


def find_bundle(path: str | os.PathLike) -> Path:
    """Return the bundle folder at a path, or in the run or cross-validation at a path."""
    path = Path(path)
    for folder in (path, path / RUN_BUNDLE):
        if is_bundle(folder):
            return folder
    if not _reads_runs():
        return path
    from breastus.runs.cross_validation import CrossValidation
    from breastus.runs.run import Run

    if CrossValidation.is_one(path):
        bundle = CrossValidation(path).bundle
        if not is_bundle(bundle):
            raise RunError(
                f"{path} is a cross-validation without a bundle. Export its networks as one: "
                f"breastus export {path} --out {bundle}"
            )
        return bundle
    return Run(path).bundle if Run.is_one(path) else path


def write_files(folder: Path, metadata: dict[str, Any], *, card: str, seen: Iterable[str]) -> None:
    """Write all files of a bundle but the networks, which must be there already.

    Format, version of the image transform and checksums are added to the metadata. `seen` are
    SHA-256 of images, or their first `SEEN_DIGITS` digits.
    """
    short = sorted({sha256[:SEEN_DIGITS] for sha256 in seen})
    write_text(folder / SEEN_FILE, "".join(f"{sha256}\n" for sha256 in short))
    write_text(folder / CARD_FILE, card)
    # How graphs compare, of the bundle that these metadata come from, is not true of this one.
    write_metadata(folder, {key: metadata[key] for key in metadata if key != "runtimes"})


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write bundle.json, with format, version of the image transform and checksums added."""
    files = checksums(folder)
    versions = {"format": FORMAT, "transform": TRANSFORM_VERSION}
    write_json(folder / METADATA_FILE, {**metadata, **versions, "files": files})


def publish(bundle: Path, out: str | os.PathLike) -> Path:
    """Copy a bundle to the folder that is deployed, replacing an older one in one step.

    Raises:
        BundleError: if it is not a bundle that this version of breastus reads.
    """
    _read_metadata(bundle)
    with write_folder_aside(out) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
    return Path(out)


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a bundle except bundle.json."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != METADATA_FILE
    }


def _reads_runs() -> bool:
    """Whether this is breastus, and not breastus-runtime, which has no pandas."""
    return importlib.util.find_spec("pandas") is not None


def _read_metadata(path: Path) -> dict[str, Any]:
    file = path / METADATA_FILE
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path} is not a bundle: {METADATA_FILE} cannot be read ({error}). Name a bundle "
            "such as models/cnn, or a finished run."
        ) from error
    version = metadata.get("format") if isinstance(metadata, dict) else None
    if version != FORMAT:
        older = isinstance(version, int) and version < FORMAT
        way_out = "Train the network again" if older else "Update breastus"
        raise BundleError(
            f"{file} has a format that this version of breastus does not read: it must be "
            f"{FORMAT}. {way_out}, or use the version that wrote the bundle. "
            f"Received: format={version!r}"
        )
    check_transform(path, metadata.get("transform"), BundleError)
    if missing := [name for name in _REQUIRED if name not in metadata]:
        raise BundleError(
            f"{file} is damaged: it lacks {', '.join(missing)}. Copy or export the bundle again."
        )
    if not isinstance(metadata["files"], dict):
        raise BundleError(
            f"{file} is damaged: its files have no checksums. Export the bundle again."
        )
    return metadata
