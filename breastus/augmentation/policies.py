"""Augmentation policies: a name in, an `Augmenter` out, or None for no augmentation."""

from collections.abc import Callable

from breastus.augmentation.base import Augmenter
from breastus.augmentation.layers import (
    Affine,
    GaussianBlur,
    HorizontalFlip,
    JpegQuality,
    MultiplicativeNoise,
    RandomErasing,
)
from breastus.augmentation.ultrasound import GainCurve, Shadow, Speckle
from breastus.errors import ConfigError, did_you_mean


def _study() -> list:
    # The study names these operations but not their ranges; the ranges are our choice.
    return [
        HorizontalFlip(probability=0.5),
        Affine(scale=0.1, translation=0.1, rotation=15.0),
        MultiplicativeNoise(stddev=0.1),
        GaussianBlur(sigma=1.5, probability=0.5),
    ]


def _ultrasound() -> list:
    # Changes that other scanners and operators make and that leave a lump visible. Hospitals differ
    # in the depth of their images, so a lump may be half as large on another screen. The rotation
    # is smaller than in `study`, since depth and shadows run downwards in every image.
    return [
        HorizontalFlip(probability=0.5),
        Affine(scale=(0.55, 1.25), translation=0.06, rotation=8.0, fill_mode="constant"),
        GainCurve(gain=4.0, curve=4.0, contrast=0.2),
        Shadow(probability=0.2, depth=12.0, width=0.3),
        Speckle(stddev=0.15, grain=4.0),
        GaussianBlur(sigma=1.2, probability=0.4),
    ]


_POLICIES: dict[str, Callable[[], list]] = {
    "none": list,
    "geometry": lambda: _study()[:2],
    "study": _study,
    "study_jpeg": lambda: [*_study(), JpegQuality(lowest=40)],
    "ultrasound": _ultrasound,
}


def list_policies() -> list[str]:
    """Return the names that `build_augmenter` takes."""
    return sorted(_POLICIES)


def build_augmenter(policy: str, *, erasing: float = 0.0) -> Augmenter | None:
    """Build the augmentation of a policy, followed by random erasing.

    Args:
        policy: `none`; `study` (horizontal flip, affine, multiplicative noise, Gaussian blur);
            `geometry` (only its flip and affine); `study_jpeg` (`study`, then JPEG compression by
            KerasCV); `ultrasound` (flip, affine, gain, time-gain compensation and dynamic range,
            shadows, speckle, blur).
        erasing: fraction of the images in which a rectangle is erased, 0 to 1.

    Returns:
        An `Augmenter`, or None for no augmentation.

    Raises:
        ConfigError: when the name is unknown.
    """
    check_policy(policy)
    layers = _POLICIES[policy]()
    if erasing:
        layers.append(RandomErasing(probability=erasing))
    return Augmenter(layers) if layers else None


def check_policy(policy: str) -> None:
    """Raise ConfigError when there is no policy of this name."""
    if policy not in _POLICIES:
        raise ConfigError(
            f"augmentation.policy must be one of {', '.join(list_policies())}."
            f"{did_you_mean(policy, _POLICIES)} Received: {policy!r}"
        )
