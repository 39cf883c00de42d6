"""Kept features of all images, computed by the first of several runs and used by them all.

The folds of a cross-validation train heads upon one frozen backbone, on parts of the same images.
Their features then differ in nothing, and computing them takes far longer than training a head.

Augmentation follows an image's place among all images here, and its place in the training part
where a run has its features for itself: what is drawn differs, not what it is drawn from.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import pandas as pd

from breastus.config.schema import Config
from breastus.training.feature_cache import FeatureCache


class SharedFeatureCache:
    """Holds what the last run needed, for the next one that needs the same.

    Args:
        folder: where the files of features are made; they have no names and go with this object.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._of: str | None = None
        self._kept: tuple[FeatureCache, FeatureCache] | None = None

    def get(
        self, of: str, compute: Callable[[], tuple[FeatureCache, FeatureCache]]
    ) -> tuple[FeatureCache, FeatureCache]:
        """Return the augmented features and the clean ones, computed if they are not there.

        Args:
            of: what they are of, as from `fingerprint`.
            compute: how they are computed.
        """
        if of != self._of:
            self._of = self._kept = None  # first, or the disk has to hold both
            self._kept, self._of = compute(), of
        return self._kept


def everything(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all splits in the order of their image ids, whoever trains on which."""
    rows = pd.concat(tables, ignore_index=True)
    return rows.sort_values("image_id", ignore_index=True)


def fingerprint(config: Config, backbone: keras.Model, image_ids: Sequence[str]) -> str:
    """Return a SHA-256 of all that features depend on: settings, backbone and images."""
    settings = config.replace({"data": {"fold": 0, "val_rotation": 0}}).to_dict()
    digest = hashlib.sha256(json.dumps([settings, list(image_ids)], sort_keys=True).encode())
    for weight in backbone.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()
