"""What a network computes of its training images, without a pixel of them.

    raw = network_features(network).predict(images)                      # [n, C]
    known = TrainingFeatures.fit(raw, table, validation=other, seed=0)   # some hundred kB as a file
    known.nearest(raw[0])      # similar training images, one for each patient or scene
    known.distance(raw)        # how far images are from the training images

The features are the mean over the last feature map, standardised and turned onto their principal
components: the cosine of two images is hardly changed, and the file is small.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from breastus.errors import BundleError
from breastus.explain.lesion_map import last_map
from breastus.utils.files import write_aside

_COMPONENTS = 128  # principal components that are kept; with images in the thousands, 1 MB
_KEPT = 0.95  # share of images of the training's kind that the limit lets pass
_MOST = 4000  # images that are kept
_EPSILON = 1e-6  # what is smaller than its mean, or the first component, by this is rounding
_BLOCK = 512  # images that are compared with all others at a time
_DIGITS = 16  # of a SHA-256: enough to recognise a file


def network_features(network: keras.Model) -> keras.Model:
    """Return a model from the network's input to features, float32 [B, C].

    Of an ensemble, its first network computes them.

    Raises:
        ModelError: if the network has no feature map.
    """
    names = {layer.name: layer for layer in network.layers}
    image = network.input
    # Of an ensemble, the backbone that its networks share, or its first network.
    if member := names.get("backbone") or names.get("member_0"):
        found = keras.Model(member.input, last_map(member))(image)
    else:
        found = last_map(network)
    pooled = layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(found)
    return keras.Model(image, pooled, name="network_features")


@dataclass(frozen=True)
class Neighbour:
    """A training image that is similar to an image.

    Attributes:
        image_id: its name in the manifest.
        label: "lump" or "no_lump".
        distance: cosine distance of the features, 0 (the same direction) to 2.
        path: its file; "" if it is not known.
    """

    image_id: str
    label: str
    distance: float
    path: str = ""


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of the training images.

    Attributes:
        mean, scale: float32 [C], by which raw features are standardised.
        basis: float32 [C, k], principal components.
        features: float32 [n, k].
        image_id, label, sha256: text [n]; of the SHA-256 the first 16 digits.
        group: int32 [n], number of the patient or scene.
        own_scene: cosine similarity above which an image shows the scene of a training image; no
            two training images of different scenes are more similar.
        variance: float32 [k], variance along each component.
        residual: mean variance of the features beyond the components.
        limit: distance that 95 % of the validation images keep; see `distance`.
    """

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray
    features: np.ndarray
    image_id: np.ndarray
    label: np.ndarray
    sha256: np.ndarray
    group: np.ndarray
    own_scene: float
    variance: np.ndarray
    residual: float
    limit: float = np.inf

    @classmethod
    def fit(
        cls, raw: np.ndarray, table: pd.DataFrame, *, validation: np.ndarray, seed: int
    ) -> "TrainingFeatures":
        """Fit on the training images.

        Args:
            raw: features of the network, [n, C].
            table: manifest rows of the images.
            validation: features of the validation images, [m, C], from which `limit` comes.
            seed: decides which images are kept if there are more than 4,000.
        """
        kept = np.sort(np.random.default_rng(seed).permutation(len(raw))[:_MOST])
        raw, table = raw[kept].astype(float), table.iloc[kept]
        mean, scale = raw.mean(axis=0), raw.std(axis=0)
        # A feature that does not vary says nothing.
        scale = np.where(scale > _EPSILON * np.abs(mean), scale, np.inf)
        standard = (raw - mean) / scale
        _, lengths, rows = np.linalg.svd(standard, full_matrices=False)
        variance = lengths**2 / len(raw)
        variance = variance[variance > _EPSILON * variance[0]]  # none of a network without output
        basis = rows[: min(len(variance), _COMPONENTS)].T
        # Of few images all components are kept, and the variance beyond them is unknown.
        beyond = variance[_COMPONENTS:] if len(variance) > _COMPONENTS else variance[-1:]
        features, group = standard @ basis, table["group_id"].factorize()[0]
        found = cls(
            *(array.astype(np.float32) for array in (mean, scale, basis, features)),
            *(table[name].to_numpy(str) for name in ("image_id", "label")),
            table["sha256"].str[:_DIGITS].to_numpy(str),
            group.astype(np.int32),
            _most_similar_scenes(features, group),
            variance[:_COMPONENTS].astype(np.float32),
            float(beyond.mean()) if len(beyond) else 1.0,
        )
        return replace(found, limit=conformal_limit(found.distance(validation)))

    def project(self, raw: np.ndarray) -> np.ndarray:
        """Return raw features [m, C] as those here are: float32 [m, k]."""
        return ((raw - self.mean) / self.scale) @ self.basis

    def distance(self, raw: np.ndarray) -> np.ndarray:
        """Return how far raw features [m, C] are from the training images, [m], 0 or more.

        The Mahalanobis distance by the variances of the components, with one variance for all
        dimensions beyond them (probabilistic principal components: Tipping, Bishop, Journal of the
        Royal Statistical Society B 61, 1999, 611).
        """
        standard = (raw - self.mean) / self.scale
        along = standard @ self.basis
        beyond = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        return np.sqrt((along**2 / self.variance).sum(axis=1) + beyond / self.residual)

    def nearest(self, raw: np.ndarray, *, sha256: str = "") -> Iterator[Neighbour]:
        """Yield the most similar image of each patient or scene, the most similar first.

        Scenes of the same file are passed over, and scenes more similar than any two of the
        training: the image itself shows them.

        Args:
            raw: features of one image, [C].
            sha256: SHA-256 of its file, if known.
        """
        similarity = _unit(self.features) @ _unit(self.project(raw))
        own = similarity > self.own_scene
        if sha256:
            own |= self.sha256 == sha256[:_DIGITS]
        passed = set(self.group[own].tolist())
        for number in np.argsort(-similarity, kind="stable"):
            if self.group[number] in passed:
                continue
            passed.add(int(self.group[number]))
            yield Neighbour(
                str(self.image_id[number]),
                str(self.label[number]),
                float(1 - similarity[number]),
            )

    def save(self, path: Path) -> None:
        """Write a .npz file; features take two bytes each."""
        arrays = {**vars(self), "features": self.features.astype(np.float16)}
        with write_aside(path) as aside:
            np.savez_compressed(aside, **arrays)

    @classmethod
    def load(cls, path: Path) -> "TrainingFeatures":
        """Read a file of `save`; nothing in it is executed.

        Raises:
            BundleError: if it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in cls.__dataclass_fields__}
        except Exception as error:  # damaged archives raise almost anything
            raise BundleError(
                f"{path} cannot be read: {error}. Export the bundle again."
            ) from error
        arrays["features"] = arrays["features"].astype(np.float32)
        numbers = {name: float(arrays[name]) for name in ("own_scene", "residual", "limit")}
        return cls(**{**arrays, **numbers})


def conformal_limit(distances: np.ndarray) -> float:
    """Return the distance that 95 % of images like these keep; infinite for fewer than 19."""
    rank = math.ceil(_KEPT * (len(distances) + 1))
    return float(np.sort(distances)[rank - 1]) if rank <= len(distances) else math.inf


def _most_similar_scenes(features: np.ndarray, group: np.ndarray) -> float:
    """Return the largest cosine similarity of images of different groups; 1 of a single group."""
    unit, largest = _unit(features), -1.0
    for start in range(0, len(unit), _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarity = np.where(group[rows, None] == group, -1.0, unit[rows] @ unit.T)
        largest = max(largest, float(similarity.max()))
    return largest if largest > -1 else 1.0


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
