"""From a trained run to a bundle: one folder that needs nothing but TensorFlow.

saved_model/       raw pixels or file bytes in, calibrated probabilities out
bundle.json        labels, threshold, temperature, metrics with intervals, what it was trained on
model.keras        the network alone, z-scored images in
MODEL_CARD.md      the same for a person
seen_images.txt    checksums of the images that took part in training, to know them again
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breastus.deploy.serving import ServingModule
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.tta import View
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.training.views import PLAIN
from breastus.utils.files import sha256_of, write_folder_aside, write_json, write_text

FORMAT = 1
INFO_FILE = "bundle.json"
NETWORK_FILE = "model.keras"
SAVED_MODEL = "saved_model"
CARD_FILE = "MODEL_CARD.md"
SEEN_FILE = "seen_images.txt"
SEEN_DIGITS = 16  # of a SHA-256: enough to know a file again, too few to be worth collecting


def write_bundle(
    out: Path,
    *,
    keras_file: Path,
    transform: Transform,
    calibrator: Calibrator,
    recalibrator: Calibrator | None = None,
    views: Sequence[View] = PLAIN,
    info: dict[str, Any],
    card: Callable[[dict[str, Any]], str],
    seen: Iterable[str],
) -> Path:
    """Write a bundle folder, whole or not at all; a bundle that stood there is replaced.

    Args:
        out: the bundle's folder.
        keras_file: the trained network.
        transform: what it was trained with.
        calibrator: of its probabilities.
        recalibrator: of the calibrated ones, for another hospital.
        views: of test-time augmentation.
        info: what bundle.json says; format, checksums and the date are added here.
        card: writes the model card from `info`, as `breastus.reporting.model_card.model_card` does.
        seen: SHA-256 of each image file that weights, epoch, calibration or threshold were chosen
            by, or its first `SEEN_DIGITS` digits.

    Returns:
        `out`.

    Raises:
        RunError: when it cannot be written.
    """
    model = load_network(keras_file)
    with write_folder_aside(out) as folder:
        module = ServingModule(model, transform, calibrator, views, recalibrator)
        module.save(folder / SAVED_MODEL)
        shutil.copyfile(keras_file, folder / NETWORK_FILE)
        info = {
            "format": FORMAT,
            **info,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        short = sorted({sha[:SEEN_DIGITS] for sha in seen})
        write_text(folder / SEEN_FILE, "".join(f"{sha}\n" for sha in short))
        write_text(folder / CARD_FILE, card(info))
        write_json(folder / INFO_FILE, {**info, "files": checksums(folder)})
    return Path(out)


def publish(bundle: Path, out: Path) -> Path:
    """Copy a bundle to where it is served from, replacing what stood there in one step."""
    with write_folder_aside(out) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
    return Path(out)


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a bundle, bundle.json left out."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != INFO_FILE
    }
