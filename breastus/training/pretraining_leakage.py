"""Pretraining leakage: held-out images of a run that its pretrained weights have seen.

Weights that were pretrained on a test image fit it, even without its label, so a score on it is
optimistic. The same file counts, and any other image of its group (patient or scene).
"""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.auditing.leakage import HELD_OUT
from breastus.errors import PretrainingLeakageWarning, RunError, WeightsError
from breastus.models.weights.backbone_folder import PRETRAINED_FILE
from breastus.utils.files import read_json


def check_pretraining_leakage(
    pretraining: dict[str, Any], manifest: pd.DataFrame, splits: pd.DataFrame, *, allow: bool
) -> int:
    """Refuse weights that have seen images of val or test, or count these images.

    Args:
        pretraining: facts of the pretraining, from `read_pretrained`.
        manifest: manifest of the run.
        splits: splits of the run.
        allow: true to warn (PretrainingLeakageWarning) instead of raising a WeightsError.

    Returns:
        Number of images of val and test that the weights have seen.
    """
    seen = manifest[manifest["sha256"].isin(set(pretraining["seen"])) & (manifest["sha256"] != "")]
    rows = splits[splits["split"].isin(HELD_OUT)].merge(manifest, on="image_id")
    same_file = rows["sha256"].isin(set(seen["sha256"]))
    found = rows[same_file | rows["group_id"].isin(set(seen["group_id"]))]
    if found.empty:
        return 0
    counts = " and ".join(f"{n} of {split}" for split, n in found["split"].value_counts().items())
    what = (
        f"The weights were pretrained on images that this run holds out, or on others of the same "
        f"patients or scenes: {counts}, such as {found['image_id'].iloc[0]}."
    )
    if not allow:
        raise WeightsError(
            f"{what} Its scores would be optimistic. Train with the data, seed and split of the "
            f"pretraining (seed {pretraining.get('seed')}), or pretrain again with the data and "
            "split of this run. --set model.pretraining_leakage=allow trains anyway, with a notice "
            "in the report."
        )
    warnings.warn(f"{what} THE SCORES ARE OPTIMISTIC.", PretrainingLeakageWarning, stacklevel=2)
    return len(found)


def pretraining_of(run: Path) -> dict[str, Any] | None:
    """Return the facts of the pretraining that a run started from; None without a pretraining."""
    path = run / PRETRAINED_FILE
    if not path.exists():
        return None
    facts = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("seen"), list):
        raise RunError(f"{path} is damaged: it must list the images seen. Train again.")
    return facts


def pretraining_seen(run: Path) -> list[str]:
    """Return the SHA-256 of each image that a run's initial weights have seen."""
    return (pretraining_of(run) or {"seen": []})["seen"]
