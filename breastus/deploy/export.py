"""Write a bundle: a trained network, its decision and its metadata in, one folder out."""

import math
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from breastus.config.schema import Config
from breastus.deploy.bundle import FEATURES_FILE, NETWORK_FILE, SAVED_MODEL, write_files
from breastus.deploy.serving import ServingModule
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.tta import VIEWS
from breastus.explain.training_features import TrainingFeatures
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.utils.files import write_folder_aside


def write_bundle(
    out: str | os.PathLike,
    *,
    network: Path,
    config: Config,
    calibrators: Iterable[Calibrator],
    metadata: dict[str, Any],
    card: Callable[[dict[str, Any]], str],
    seen: Iterable[str],
    features: Path | None = None,
) -> Path:
    """Write a bundle folder atomically; an existing bundle is replaced.

    Args:
        out: the bundle folder.
        network: the trained network, a `.keras` file.
        config: settings of the training; the graph has their transform and views.
        calibrators: applied to the network's probabilities one after the other.
        metadata: content of bundle.json; format, checksums and date are added here.
        card: writes the model card from `metadata`, such as
            `breastus.reporting.model_card.model_card`.
        seen: SHA-256 of each image file that weights, epoch, calibration or threshold depend on,
            or its first `SEEN_DIGITS` digits.
        features: a file of `TrainingFeatures`, with which the graph returns distances.
    """
    model = load_network(network)
    known = TrainingFeatures.load(features) if features is not None else None
    with write_folder_aside(out) as folder:
        module = ServingModule(
            model,
            Transform.from_config(config),
            calibrators,
            VIEWS[config.evaluation.tta],
            known=known,
        )
        module.save(folder / SAVED_MODEL)
        shutil.copyfile(network, folder / NETWORK_FILE)
        if known is not None:
            shutil.copyfile(features, folder / FEATURES_FILE)
        metadata = {
            **metadata,
            # Without features, or with too few validation images, no image is too far.
            "distance_limit": known.limit if known and math.isfinite(known.limit) else None,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_files(folder, metadata, card=card(metadata), seen=seen)
    return Path(out)
