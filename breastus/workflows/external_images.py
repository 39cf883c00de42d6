"""Images of another hospital that a model has not seen: a data set in, its images out.

Images that took part in training are excluded, with their near-duplicates and every other image of
their patients and scenes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.config.parsing import join_sources
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import included
from breastus.errors import DataError
from breastus.labels import LABELS, LUMP
from breastus.training.external_leakage import find_external_leakage
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.prepare import Places


class ExternalImages(NamedTuple):
    """Images to evaluate a model on."""

    manifest: pd.DataFrame  # all images, with the reasons why some are excluded
    rows: pd.DataFrame  # of the images to evaluate on
    seen: int  # number of images that took part in training
    # `excluded`, the number of images that resemble a training image or share its patient or scene;
    # `compared` and `missing`, the numbers of training images that could and could not be compared.
    near_duplicates: dict[str, int]

    @property
    def truth(self) -> np.ndarray:
        """int [n], 1 for lump."""
        return (self.rows["label"] == LABELS[LUMP]).to_numpy(int)

    @property
    def sources(self) -> list[str]:
        """Names of the data sets."""
        return sorted(set(self.rows["source"]))


def external_images(
    data: Places, model: ModelArtifact, labels: str | Mapping[str, str] = ""
) -> ExternalImages:
    """Read a data set and exclude what the model has seen.

    `labels` give the meanings of class names in `data`; empty takes the model's settings.
    """
    config = model.config
    manifest = load_manifest(
        join_sources(data), labels=labels, settings=config.data, seed=config.seed
    )
    manifest, seen = exclude_seen(manifest, model)
    manifest, near_duplicates = _exclude_similar(manifest, model)
    rows = included(manifest).reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"{join_sources(data)} holds no image to evaluate on: {seen} took part in training, "
            f"{near_duplicates['excluded']} resemble training images, and the others are excluded "
            "or have no label. Name another data set."
        )
    return ExternalImages(manifest, rows, seen, near_duplicates)


def exclude_seen(manifest: pd.DataFrame, model: ModelArtifact) -> tuple[pd.DataFrame, int]:
    """Exclude images that the model was trained on or selected by; return their number as well."""
    which = model.has_seen(manifest["sha256"])
    return _exclude(manifest, which, "duplicate: took part in training")


def _exclude_similar(
    manifest: pd.DataFrame, model: ModelArtifact
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Exclude near-duplicates of training images, and images of their patients and scenes."""
    threshold = model.config.data.duplicate_threshold
    found = find_external_leakage(included(manifest), model.training_images, threshold=threshold)
    names = [found.duplicate_of.get(image_id, "") for image_id in manifest["image_id"]]
    similar_to = pd.Series(names, index=manifest.index, dtype=object)
    known = (similar_to != "") | model.has_seen(manifest["sha256"])
    reasons = "duplicate: near-duplicate of " + similar_to + ", which took part in training"
    manifest, similar = _exclude(manifest, similar_to != "", reasons)
    # No image of a patient or scene that was seen is external.
    of_group = manifest["group_id"].isin(set(manifest.loc[known, "group_id"]) - {""})
    reason = "duplicate: of one group with an image that took part in training"
    manifest, related = _exclude(manifest, of_group, reason)
    counts = {"excluded": similar + related, "compared": found.compared, "missing": found.missing}
    return manifest, counts


def _exclude(
    manifest: pd.DataFrame, which: pd.Series, reason: str | pd.Series
) -> tuple[pd.DataFrame, int]:
    """Exclude images that are still included, with a reason; return their number as well."""
    fresh = which & (manifest["excluded"] == "")
    return manifest.assign(excluded=manifest["excluded"].mask(fresh, reason)), int(fresh.sum())
