"""A linear probe: logistic regression on frozen features of a vision tower, beside its answers.

    report = probe_vlm("path/to/llava-med", data="path/to/BUSI", shots=10)
    report.metrics["test"]["roc_auc"]

It measures what the tower encodes, apart from the language model.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from breastus.config.schema import Config
from breastus.data.images import read_image
from breastus.data.manifest.schema import included
from breastus.errors import DataError, RunError
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import write_predictions
from breastus.evaluation.validation import check_count
from breastus.labels import LABELS, LUMP
from breastus.reporting.texts import verdict
from breastus.utils.quiet import import_tensorflow
from breastus.vlm.models import find_checkpoint
from breastus.workflows.prepare import Places, prepare_manifest, prepare_splits, with_settings

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse penalties, of which validation chooses one


class ProbeReport(NamedTuple):
    """A tested probe.

    Attributes:
        table: predictions of the images of val and test, with the probe's own decision.
        metrics: result of `score_predictions` for `test`.
        training_images: number of images that the probe was fitted on.
        strength: inverse penalty that validation chose.
        out: the file of the table.
    """

    table: pd.DataFrame
    metrics: dict[str, Any]
    training_images: int
    strength: float
    out: Path

    @property
    def summary(self) -> str:
        """The result in a few sentences."""
        return f"Linear probe on {self.training_images} images. {verdict(self.metrics)}"


def probe_vlm(
    model: str | os.PathLike,
    *,
    data: Places | None = None,
    shots: int | None = None,
    tower: str = "checkpoint",
    out: str | os.PathLike = "probe.csv",
    config: Config | None = None,
    **settings: Any,
) -> ProbeReport:
    """Fit a linear probe on the features of a vision tower, and test it by the package's splits.

    The features of an image are the mean over its patches. They are standardized, and a logistic
    regression is fitted on the training images; the images of validation choose its penalty,
    calibration and threshold.

    Args:
        model: argument of `breastus.build_vlm`; only its vision tower is loaded.
        data: see `breastus.train`.
        shots: number of training images of each class, drawn at random; None takes all.
        tower: argument of `breastus.build_vlm`.
        out: a new CSV file.
        config: all settings; None takes the defaults. `data`, `evaluation` and `seed` count.
        **settings: single settings by name, such as `split="kfold"`.

    Raises:
        ConfigError: if a setting is unknown.
        RunError: if the file exists.
        DataError: if the data cannot be found or split, or a class has too few training images.
        ModelError: if the model is unknown, or its checkpoint is not whole.
    """
    if shots is not None:
        check_count("shots", shots)
    if Path(out).exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    config = with_settings(config or Config(), data, settings)
    checkpoint = find_checkpoint(model)
    manifest = prepare_manifest(config)
    splits = prepare_splits(config, manifest)
    rows = included(manifest).merge(splits[["image_id", "split"]], on="image_id")
    training = _training_rows(rows, shots, config.seed)
    used = pd.concat([training, rows[rows["split"] != "train"]], ignore_index=True)

    import_tensorflow()
    from breastus.vlm.llava import load_tower, patch_features

    network = load_tower(checkpoint, tower=tower)
    features = np.stack(
        [
            patch_features(network, read_image(path)).astype(float).mean(axis=0)
            for path in tqdm(used["path"], "reading features", disable=None)
        ]
    )
    lump = (used["label"] == LABELS[LUMP]).to_numpy(int)
    parts = {split: (used["split"] == split).to_numpy() for split in ("train", "val", "test")}
    strength, probability = _fit(features, lump, parts)
    columns = ["image_id", "split", "group_id", "finding", "label"]
    table = used[columns].assign(probability_uncalibrated=probability)
    validation = table[parts["val"]].assign(probability=probability[parts["val"]])
    decision = Decision.fit(validation, config.evaluation, seed=config.seed)
    table = decision.apply(table[~parts["train"]])
    metrics = score_predictions(
        {"test": table[table["split"] == "test"]},
        threshold=decision.threshold,
        options=EvaluationOptions.from_settings(config.evaluation, seed=config.seed),
    )
    write_predictions(table, out)
    return ProbeReport(table, metrics, int(parts["train"].sum()), strength, Path(out))


def _training_rows(rows: pd.DataFrame, shots: int | None, seed: int) -> pd.DataFrame:
    """Return the training images: all of them, or `shots` of each class."""
    training = rows[rows["split"] == "train"]
    counts = training["label"].value_counts().reindex(LABELS, fill_value=0)
    if counts.min() < (shots or 1):
        raise DataError(
            f"A probe needs {shots or 1} training images of each class. Received: "
            f"{', '.join(f'{count} of {label}' for label, count in counts.items())}"
        )
    if shots is None:
        return training
    return training.groupby("label").sample(shots, random_state=seed)


def _fit(
    features: np.ndarray, lump: np.ndarray, parts: dict[str, np.ndarray]
) -> tuple[float, np.ndarray]:
    """Return the strength with the smallest log loss in validation, and all probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = {}
    for strength in STRENGTHS:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
        probe.fit(features[parts["train"]], lump[parts["train"]])
        probability = probe.predict_proba(features)[:, 1]
        loss = image_log_loss(lump[parts["val"]], probability[parts["val"]]).mean()
        found[strength] = loss, probability
    best = min(found, key=lambda strength: found[strength][0])
    return best, found[best][1]
