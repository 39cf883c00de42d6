"""A bundle and images in, predictions out."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image

from breastus.data.images import ImageFile, to_png, upright_pixels
from breastus.deploy.bundle import METADATA_FILE, Bundle, find_bundle
from breastus.deploy.flags import REFERRED, UNDECIDED, UNSUITABLE, prediction_flags
from breastus.deploy.runtimes import choose_runtime, load_graph
from breastus.errors import BundleError, ConfigError, ImageError
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.decision.conformal import ConformalSets
from breastus.evaluation.predictions import lump_probability
from breastus.utils.files import printable
from breastus.utils.threads import map_in_threads

# Log odds by which the float32 graph may differ from the float64 in which referral was fitted:
# 0.000025 at a probability of 0.5, less near 0 and 1.
_ROUNDING = 1e-4

Image = str | os.PathLike | bytes | np.ndarray | PIL.Image.Image


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A model's prediction for one image.

    Attributes:
        path: the image file, or "" for an image in memory.
        label: "lump" or "no_lump"; "" if the image could not be read.
        probability: calibrated probability of a lump, 0 to 1; NaN if it could not be read.
        threshold: the label is "lump" if `probability >= threshold`.
        flags: annotations on the image, and what is unusual about the image or the model, such as
            `caliper`, `brightness_high` or `trained_on_phantoms`.
        reasons: meaning of each flag, and of `undecided` where the conformal sets refer the image.
        error: why the image could not be read, else "".
        findings: calibrated probabilities of normal, benign and malignant, of which the last two
            sum to `probability`; None if the network learned labels alone, or the image could not
            be read.
        referred: true if a reader must look at the image, because the model does not know such
            images (`unsuitable`, or the flag `unfamiliar`), or because the conformal sets of the
            bundle hold both labels, none, or not `label`. None if the bundle has no sets or the
            image could not be read, which does not mean that the prediction is certain.
    """

    path: str
    label: str
    probability: float
    threshold: float
    flags: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    error: str = ""
    referred: bool | None = None
    findings: dict[str, float] | None = None

    @property
    def unsuitable(self) -> tuple[str, ...]:
        """Flags with which `label` means nothing, as the model was not made for the image."""
        return tuple(flag for flag in self.flags if flag in UNSUITABLE)

    def to_dict(self) -> dict[str, Any]:
        """Return what `breastus predict --format json` prints; absent values are None."""
        return {
            "path": self.path,
            "label": self.label or None,
            "probability": None if self.error else self.probability,
            "threshold": self.threshold,
            "flags": list(self.flags),
            "error": self.error or None,
            "referred": self.referred,
            "reasons": dict(self.reasons),
            "findings": self.findings,
        }


class Predictor:
    """A loaded bundle.

    Args:
        model: a bundle such as `models/cnn`, a finished run, or a cross-validation with a bundle:
            a path, or an object with a `path`.
        runtime: "tensorflow", "onnx" or "litert"; None takes the first of them that is installed
            and that the bundle has a graph for. All give the same predictions.

    Raises:
        BundleError: if there is no bundle, or it is damaged or has another format or another
            version of the image transform; if it has no graph for the runtime, or the runtime is
            not installed.
        ConfigError: if there is no runtime of that name.
        RunError: if the run is not finished.

    Examples:
        >>> predictor = Predictor("models/cnn")
        >>> predictor("image.png").label
        'lump'
        >>> [one.probability for one in predictor(["a.png", "b.png"])]
        [0.91, 0.08]
    """

    def __init__(self, model: Any, *, runtime: str | None = None):
        self.bundle = Bundle.load(find_bundle(getattr(model, "path", model)))
        self.path, self.metadata = self.bundle.path, self.bundle.metadata
        self.runtime = choose_runtime(self.bundle, runtime)
        self._graph = load_graph(self.bundle, self.runtime)
        self.threshold = float(self.metadata["threshold"])
        self.labels = tuple(self.metadata["labels"])
        self.trained_on_phantoms = bool(self.metadata["trained_on"]["phantom"])
        self._sets = self._conformal_sets()

    def __call__(self, image: Image | Iterable[Image]) -> "Prediction | list[Prediction]":
        """Predict one image, or several.

        Args:
            image: a file (PNG, JPEG, BMP, TIFF, WebP or DICOM), the bytes of one, pixels (uint8
                [H, W], [H, W, 1] or [H, W, 3], RGB), a PIL image, or a list of any of these.

        Returns:
            A prediction; for a list one for each image, in which an image that cannot be read has
            an `error`.

        Raises:
            ImageError: if a single image cannot be read.
        """
        if isinstance(image, Image):
            return self._predict(image)
        return list(self.predict_each(image))

    def predict_each(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Predict images in order, several at once; one that cannot be read carries its `error`.

        Images are read as their predictions are asked for, so that memory stays flat.
        """
        return map_in_threads(self._predict_or_refuse, images)

    def has_seen(self, sha256: str) -> bool:
        """Whether the file with this SHA-256 took part in the model's training or validation."""
        return self.bundle.has_seen(sha256)

    def _predict_or_refuse(self, image: Image) -> Prediction:
        """Return a prediction, or what is wrong with the image."""
        try:
            return self._predict(image)
        except ImageError as error:
            return Prediction(
                path=_path(image),
                label="",
                probability=float("nan"),
                threshold=self.threshold,
                error=printable(str(error)),
            )

    def _predict(self, image: Image) -> Prediction:
        file = ImageFile.read(_file(image))
        try:
            outputs = self._graph(file.pixels[None])
        except Exception as error:  # each runtime has errors of its own
            text = getattr(error, "message", "") or str(error) or type(error).__name__
            raise ImageError(
                f"{_path(image) or 'The image'} cannot be predicted: {text.splitlines()[0]}"
            ) from error
        probability = float(outputs["lump"][0])
        label = self.labels[int(probability >= self.threshold)]
        limit = self.metadata.get("distance_limit")  # None in bundles of an earlier version
        reasons = prediction_flags(
            file.pixels,
            phantom=self.trained_on_phantoms,
            seen=self.has_seen(file.sha256),
            ranges=self.metadata["input_statistics"],
            stated=file.flags,
            unfamiliar=limit is not None and float(outputs["distance"][0]) > limit,
        )
        findings = None
        if names := self.metadata.get("findings"):
            findings = dict(zip(names, outputs["findings"][0].tolist(), strict=True))
        undecided = self._undecided(outputs["probabilities"], label)
        referred = bool(undecided) if self._sets is not None else None
        return Prediction(
            path=_path(image),
            label=label,
            probability=probability,
            threshold=self.threshold,
            flags=tuple(reasons),
            reasons=reasons | ({UNDECIDED: undecided} if undecided else {}),
            referred=any(flag in REFERRED for flag in reasons) or referred,
            findings=findings,
        )

    def _undecided(self, probabilities: np.ndarray, label: str) -> str:
        """Return why the conformal sets refer an image to a reader; "" if they do not."""
        if self._sets is None:
            return ""
        # From both classes, because float32 rounds probabilities of lump near 1.
        probability = lump_probability(probabilities)
        if self._sets.decide(probability)[0] == label:
            return ""
        low, high = self._sets.lump_from, self._sets.no_lump_to
        if not min(low, high) <= probability[0] <= max(low, high):
            return "the threshold and the bounds of referral contradict each other here"
        if (low, high) == (0, 1):
            return "the bundle refers every image, as it was fitted on too few patients or scenes"
        if low <= high:
            return "with this probability neither “lump” nor “no lump” can be ruled out"
        return "this probability is unusual for images with a lump, and for images without one"

    def _conformal_sets(self) -> ConformalSets | None:
        if self.metadata.get("conformal") is None:
            return None
        try:
            return tolerant(ConformalSets.from_dict(self.metadata["conformal"]))
        except ConfigError as error:
            raise BundleError(
                f"{self.path} is damaged: conformal in {METADATA_FILE} cannot be used. {error} "
                "Copy or export the bundle again."
            ) from error


def tolerant(sets: ConformalSets) -> ConformalSets:
    """Return sets whose bounds are widened by the rounding error of the exported graph.

    The bounds are scores of validation images, which the sets must hold; in float32 they may
    score slightly lower or higher than when the bounds were fitted.
    """
    less = float(np.exp(-_ROUNDING))
    low, high = sets.lump_from, sets.no_lump_to
    # Odds times `less`, and odds divided by it: bounds of 0 and 1, which hold everything, stay.
    # The graph keeps probabilities `TINY` away from 0 and 1, which isotonic calibration does not.
    return ConformalSets(
        sets.coverage,
        min(low * less / (low * less + 1 - low), 1 - 2 * TINY),
        max(high / (high + (1 - high) * less), 2 * TINY),
    )


def _path(image: Image) -> str:
    return printable(image) if isinstance(image, str | os.PathLike) else ""


def _file(image: Image) -> str | os.PathLike | bytes:
    """Return a file or the bytes of one."""
    if isinstance(image, np.ndarray):
        return to_png(_rgb(image))
    if not isinstance(image, PIL.Image.Image):
        return image
    try:
        return to_png(upright_pixels(image, "The PIL image"))
    except ImageError:
        raise
    except Exception as error:  # it was opened from a damaged file
        raise ImageError(f"The PIL image cannot be used: {error}. Convert it to RGB.") from error


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = image[..., None]
    shaped = image.ndim == 3 and image.shape[-1] in (1, 3) and image.size > 0
    if image.dtype != np.uint8 or not shaped:
        raise ImageError(
            "Pixels must be uint8 [H, W], [H, W, 1] or [H, W, 3] with values 0 to 255. "
            f"Received: dtype={image.dtype}, shape={image.shape}"
        )
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
