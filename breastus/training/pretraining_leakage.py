"""Images that pretrained weights have seen, and that a run holds out: found, and refused.

Weights that were learned from a test image know it, even without its label: a score on it would be
too good. The same file counts, and so does any other image of its group (patient or scene).
"""

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.audit.leakage import HELD_OUT
from breastus.errors import PretrainingLeakageWarning, RunError, WeightsError
from breastus.models.weights.backbone_folder import PRETRAINED_FILE
from breastus.utils.files import read_json


def held_out_images_seen(
    seen: Collection[str], manifest: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    """Return the images of val and test that are among those seen, or of a group with one.

    Args:
        seen: SHA-256 of image files.
        manifest: as from `load_manifest`.
        splits: as from `make_splits`.

    Returns:
        A table of `image_id` and `split`.
    """
    known = manifest[manifest["sha256"].isin(set(seen)) & (manifest["sha256"] != "")]
    rows = splits[splits["split"].isin(HELD_OUT)].merge(manifest, on="image_id")
    found = rows["sha256"].isin(set(known["sha256"])) | rows["group_id"].isin(
        set(known["group_id"])
    )
    return rows.loc[found, ["image_id", "split"]].reset_index(drop=True)


def check_pretraining_leakage(
    pretraining: dict[str, Any], manifest: pd.DataFrame, splits: pd.DataFrame, *, allow: bool
) -> int:
    """Refuse weights that have seen images of val or test, or count these where that is allowed.

    Args:
        pretraining: as from `read_pretrained`.
        manifest: of the run.
        splits: likewise.
        allow: warn instead.

    Returns:
        How many images of val and test the weights have seen.

    Raises:
        WeightsError: when they have seen any, unless that is allowed.

    Warns:
        PretrainingLeakageWarning: when they have seen any, and that is allowed.
    """
    found = held_out_images_seen(pretraining["seen"], manifest, splits)
    if found.empty:
        return 0
    counts = " and ".join(f"{n} of {split}" for split, n in found["split"].value_counts().items())
    what = (
        f"The weights were pretrained on images that this run holds out, or on others of the same "
        f"patients or scenes: {counts}, such as {found['image_id'].iloc[0]}."
    )
    if not allow:
        raise WeightsError(
            f"{what} Its scores would flatter. Train with the data, seed and split of the "
            f"pretraining (seed {pretraining.get('seed')}), or pretrain anew with those of this "
            "run; to train all the same, with that said in the report: "
            "--set model.pretraining_leakage=allow."
        )
    warnings.warn(f"{what} THE SCORES FLATTER THE MODEL.", PretrainingLeakageWarning, stacklevel=2)
    return len(found)


def pretraining_of(run: Path) -> dict[str, Any] | None:
    """Return what is known of the weights that a run started from; None where they are not ours.

    Raises:
        RunError: when the file is damaged.
    """
    path = run / PRETRAINED_FILE
    if not path.exists():
        return None
    facts = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("seen"), list):
        raise RunError(f"{path} is damaged: it must list the images seen. Run the training anew.")
    return facts


def pretraining_seen(run: Path) -> list[str]:
    """Return the SHA-256 of each image that a run's initial weights had seen."""
    return (pretraining_of(run) or {"seen": []})["seen"]
