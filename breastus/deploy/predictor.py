"""A bundle and an image in, a prediction out."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from breastus.data.annotations.flags import MEANINGS, annotation_flags
from breastus.data.image_statistics import image_statistics, unusual
from breastus.data.images import ImageFile, to_png
from breastus.deploy.export import (
    FORMAT,
    INFO_FILE,
    SAVED_MODEL,
    SEEN_DIGITS,
    SEEN_FILE,
    checksums,
)
from breastus.errors import BundleError, ConfigError, ImageError
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.decision.conformal import ConformalSets
from breastus.evaluation.predictions import lump_probability

PHANTOM_FLAG = "trained_on_phantoms"
PHANTOM_NOTICE = (
    "This model learned from simulated images (phantoms). It has never seen a patient and says "
    "nothing about one."
)
SEEN_FLAG = "seen_in_training"
SEEN_REASON = (
    "this very file took part in the model's training, so what the model says of it proves nothing"
)
# In log odds: by how much the graph's float32 may miss the float64 in which the bounds of referral
# were fitted. At a probability of 0.5 that is 0.000025, and near 0 and 1 less.
_ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        path: the image file, or "" for pixels.
        label: "lump" or "no_lump"; "" when the image could not be read.
        probability: calibrated probability of a lump, 0 to 1; NaN when it could not be read.
        threshold: the image is called lump when `probability >= threshold`.
        flags: what is drawn on the image, and what is unusual about it or the model, such as
            `caliper`, `brightness_high` or `trained_on_phantoms`.
        reasons: flag to sentence.
        error: why the image could not be read, else "".
        referred: whether a reader has to judge the image, as the bundle's conformal sets do not
            settle it, or settle it against `label`; None when the bundle carries none or the image
            could not be read, which says nothing, and not that the answer is sure.
    """

    path: str
    label: str
    probability: float
    threshold: float
    flags: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    error: str = ""
    referred: bool | None = None

    def to_dict(self) -> dict:
        """Return the fields that `breastus predict --format json` prints; absent ones are None."""
        return {
            "path": self.path,
            "label": self.label or None,
            "probability": None if self.error else self.probability,
            "threshold": self.threshold,
            "flags": list(self.flags),
            "error": self.error or None,
        }


class Predictor:
    """A loaded bundle.

    Args:
        bundle: a bundle folder, such as `models/cnn` or a run's `bundle`.

    Raises:
        BundleError: when the folder is no bundle, is damaged, or is of a newer format.

    Example:
        >>> predictor = Predictor("models/cnn")
        >>> predictor("image.png").label
        'lump'
    """

    def __init__(self, bundle: str | os.PathLike):
        self.path = Path(bundle)
        self.info = read_info(self.path)
        try:
            self._module = tf.saved_model.load(str(self.path / SAVED_MODEL))
            self._seen = frozenset((self.path / SEEN_FILE).read_text().split())
            self._judge_bytes = self._module.signatures["predict_bytes"]
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise BundleError(f"{self.path} holds no usable SavedModel: {error}") from error
        self.threshold = float(self.info["threshold"])
        self.labels = tuple(self.info["labels"])
        self._sets = _conformal_sets(self.info, self.path)
        self.trained_on_phantoms = bool(self.info["trained_on"]["phantom"])

    def __call__(self, image: str | os.PathLike | bytes | np.ndarray) -> Prediction:
        """Judge one image.

        Args:
            image: a file (PNG, JPEG, BMP, TIFF), the bytes of one, or pixels: uint8 [H, W] or
                [H, W, 3], RGB.

        Raises:
            ImageError: when it cannot be read.
        """
        name = "" if isinstance(image, bytes | np.ndarray) else os.fspath(image)
        file = ImageFile.read(to_png(_rgb(image)) if isinstance(image, np.ndarray) else image)
        judged = self._judge_bytes(encoded=tf.constant([file.encoded]))
        probability = float(judged["lump"][0])

        reasons = {flag: MEANINGS[flag] for flag in annotation_flags(file.pixels)}
        reasons |= unusual(image_statistics(file.pixels), self.info["input_statistics"])
        if self.has_seen(file.sha256):
            reasons = {SEEN_FLAG: SEEN_REASON, **reasons}
        if self.trained_on_phantoms:
            reasons = {PHANTOM_FLAG: PHANTOM_NOTICE, **reasons}
        return Prediction(
            path=name,
            label=self.labels[int(probability >= self.threshold)],
            probability=probability,
            threshold=self.threshold,
            flags=tuple(reasons),
            reasons=reasons,
            referred=self._refers(
                judged["probabilities"].numpy(), called_lump=probability >= self.threshold
            ),
        )

    def _refers(self, probabilities: np.ndarray, *, called_lump: bool) -> bool | None:
        if self._sets is None:
            return None
        # From both classes, as float32 levels those of lump that are nearly 1.
        decided = self._sets.decide(lump_probability(probabilities))[0]
        return bool(decided != self.labels[int(called_lump)])

    def has_seen(self, sha256: str) -> bool:
        """Whether the file with this SHA-256 took part in the model's training or validation."""
        return sha256[:SEEN_DIGITS] in self._seen

    def predict_files(self, paths: Iterable[str | os.PathLike]) -> Iterator[Prediction]:
        """Judge files one after the other; one that cannot be read carries its `error`."""
        for path in paths:
            try:
                yield self(path)
            except ImageError as error:
                yield Prediction(
                    path=os.fspath(path),
                    label="",
                    probability=float("nan"),
                    threshold=self.threshold,
                    error=str(error),
                )


def read_info(bundle: Path) -> dict:
    """Read a bundle's bundle.json, and check its files against it.

    Raises:
        BundleError: when the folder is no bundle, is damaged, or is of a newer format.
    """
    file = bundle / INFO_FILE
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{bundle} is not a bundle: {INFO_FILE} cannot be read ({error}). Name a folder "
            "such as models/cnn, or the bundle folder of a run."
        ) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise BundleError(
            f"{file} has a format this version does not read: it must be {FORMAT}. Export the run "
            f"again. Received: format={info.get('format') if isinstance(info, dict) else info!r}"
        )
    found = checksums(bundle)
    if damaged := [name for name, sha in info["files"].items() if found.get(name) != sha]:
        raise BundleError(
            f"{bundle} is damaged or was changed: {', '.join(damaged)} do not match their checksum "
            f"in {INFO_FILE}. Export the run again or copy the bundle anew."
        )
    return info


def _conformal_sets(info: dict, bundle: Path) -> ConformalSets | None:
    if info.get("conformal") is None:
        return None
    try:
        return forgiving(ConformalSets.from_dict(info["conformal"]))
    except ConfigError as error:
        raise BundleError(
            f"{bundle} is damaged: conformal in {INFO_FILE} cannot be used. {error} Export the run "
            "again or copy the bundle anew."
        ) from error


def forgiving(sets: ConformalSets) -> ConformalSets:
    """Return sets that also hold what lies off their bounds by rounding alone.

    The bounds are scores of validation images, which have to be within; in the exported graph such
    an image may come out a little lower or higher than when the bounds were fitted.
    """
    less = float(np.exp(-_ROUNDING))
    low, high = sets.lump_from, sets.no_lump_to
    # The odds times `less`, and divided by it: a lower bound of 0 and an upper one of 1, which mean
    # always, stay. The graph keeps probabilities off 0 and 1 by `TINY`; isotonic calibration as it
    # was fitted does not.
    return ConformalSets(
        sets.coverage,
        min(low * less / (low * less + 1 - low), 1 - 2 * TINY),
        max(high / (high + (1 - high) * less), 2 * TINY),
    )


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ImageError(
            "Pixels must be uint8 [H, W] or [H, W, 3] with values 0 to 255. "
            f"Received: dtype={image.dtype}, shape={image.shape}"
        )
    return image
