"""Named sets of augmentations: a name in, an `Augmenter` out, or None where nothing is done."""

import difflib
from collections.abc import Callable

from breastus.augmentation.base import Augmenter
from breastus.augmentation.erasing import RandomErasing
from breastus.augmentation.layers import (
    Affine,
    GaussianBlur,
    HorizontalFlip,
    JpegQuality,
    MultiplicativeNoise,
)
from breastus.augmentation.ultrasound import GainCurve, Shadow, Speckle
from breastus.errors import ConfigError


def _study() -> list:
    # The study names these operations but not their ranges; the ranges are our choice.
    return [
        HorizontalFlip(probability=0.5),
        Affine(scale=0.1, translation=0.1, rotation=15.0),
        MultiplicativeNoise(stddev=0.1),
        GaussianBlur(sigma=1.5, probability=0.5),
    ]


def _ultrasound() -> list:
    # Of what other scanners and operators do, what a lump survives. Hospitals set the depth of
    # their images to suit themselves, so that one lump is half as large on another's screen. Not
    # turned as far as `study` does: depth and its shadows run downwards in every image.
    return [
        HorizontalFlip(probability=0.5),
        Affine(scale=(0.55, 1.25), translation=0.06, rotation=8.0, outside="black"),
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
    """Return the layers of a policy, and random erasing after them.

    Args:
        policy: `none`; `study` (horizontal flip, affine, multiplicative noise, Gaussian blur);
            `geometry` (its flip and affine alone); `study_jpeg` (`study`, then JPEG compression by
            KerasCV); `ultrasound` (flip, affine, gain, time-gain compensation and dynamic range,
            shadows, speckle, blur).
        erasing: share of the images in which a rectangle is erased.

    Returns:
        An `Augmenter`, or None where nothing is done.

    Raises:
        ConfigError: for an unknown name.
    """
    check_policy(policy)
    layers = _POLICIES[policy]()
    if erasing:
        layers.append(RandomErasing(probability=erasing))
    return Augmenter(layers) if layers else None


def check_policy(policy: str) -> None:
    """Raise ConfigError when there is no policy of this name, before any long work starts."""
    if policy not in _POLICIES:
        near = difflib.get_close_matches(policy, _POLICIES, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"augmentation.policy must be one of {', '.join(list_policies())}. {hint}"
            f"Received: {policy!r}"
        )
