"""A bundle and images in; lesion maps and similar training images out.

A bundle gives lesion maps only if it was measured that they find lesions.
"""

from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import keras
import numpy as np
import pandas as pd

from breastus.data.images import ImageFile, read_unchanged
from breastus.data.near_duplicates.search import fingerprint, near_duplicates
from breastus.deploy.bundle import Bundle
from breastus.errors import DataError
from breastus.explain.geometry import to_original
from breastus.explain.lesion_map import LesionMapper
from breastus.explain.training_features import Neighbour, TrainingFeatures, network_features
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.runs.run import BUNDLE_FOLDER, Run

_SHOWN = 3  # similar training images of an image
_COMPARED = 12  # training images whose pixels are compared with the image


class Explainer:
    """Lesion maps and similar training images of a bundle, whose network is loaded when needed.

    Args:
        bundle: a loaded bundle. If it lies in a run folder, the files of the training images are
            known; a bundle alone has no picture of them.

    Attributes:
        measured: scores of the maps, content of `explanation` in bundle.json; None
            if `breastus explain RUN` has not measured it.
    """

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self.measured: dict[str, Any] | None = bundle.metadata.get("explanation")
        self._transform = Transform(
            image_size=bundle.metadata["input_size"], **bundle.metadata["preprocessing"]
        )

    @property
    def has_maps(self) -> bool:
        """Whether maps may be shown: only if they point at lesions better than the centre does."""
        return bool(self.measured and self.measured["better_than_centre"])

    def lesion_map(self, pixels: np.ndarray) -> np.ndarray:
        """Return the lesion map of an image, uint8 [H, W, 3]: float32 [H, W], 0 to 1."""
        found = self._mapper(self._input(pixels))[0]
        return to_original(found, pixels, self._transform)

    def similar_images(self, file: ImageFile) -> list[Neighbour]:
        """Return the most similar training images, one for each patient or scene, at most three.

        No image of the scene of `file` is among them. Near-duplicates are recognised by their
        features, and by their pixels if the training images are known. A bundle of an earlier
        version knows none.
        """
        if self._features is None:
            return []
        raw = np.asarray(self._feature_network(self._input(file.pixels), training=False))[0]
        found = self._features.nearest(raw, sha256=file.sha256)
        if self._run is None:
            return list(islice(found, _SHOWN))
        similar, pixels = [], [file.pixels]
        for known in islice(found, _COMPARED):
            try:
                row = self._files.loc[known.image_id]
                pixels.append(read_unchanged(row["path"], row["sha256"]))
                similar.append(replace(known, path=row["path"]))
            except DataError:  # moved or changed since the training
                pixels.append(np.zeros((1, 1, 3), np.uint8))  # similar to no other image
                similar.append(known)
        prints = np.stack([fingerprint(one) for one in pixels])
        threshold = self._run.config.data.duplicate_threshold
        pairs = near_duplicates(prints, threshold=threshold)
        own = set(pairs.second[pairs.first == 0] - 1)
        return [one for number, one in enumerate(similar) if number not in own][:_SHOWN]

    def _input(self, pixels: np.ndarray) -> np.ndarray:
        return self._transform.normalize(self._transform.crop_and_resize(pixels)).numpy()[None]

    @cached_property
    def _run(self) -> Run | None:
        """The run folder that the bundle lies in."""
        folder = self._bundle.path.parent
        inside = self._bundle.path.name == BUNDLE_FOLDER and Run.is_one(folder)
        return Run(folder) if inside else None

    @cached_property
    def _files(self) -> pd.DataFrame:
        return self._run.read_manifest().set_index("image_id")

    @cached_property
    def _network(self) -> keras.Model:
        return load_network(self._bundle.network)

    @cached_property
    def _mapper(self) -> LesionMapper:
        return LesionMapper(self._network)

    @cached_property
    def _features(self) -> TrainingFeatures | None:
        path = self._bundle.training_features
        return TrainingFeatures.load(path) if path else None

    @cached_property
    def _feature_network(self) -> keras.Model:
        return network_features(self._network)
