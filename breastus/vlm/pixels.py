"""Pixels for a CLIP vision tower: a padded square, resized, in the units that CLIP was trained on.

The steps equal LLaVA's `expand2square` and CLIP's image processor: the margins have CLIP's mean
colour, the resizing is bicubic by Pillow on 8-bit levels.
"""

import numpy as np
from PIL import Image

# Of the training images of CLIP (Radford et al., ICML 2021), per channel, in units of 0 to 1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_MARGIN = tuple(int(mean * 255) for mean in MEAN)  # cut off, not rounded, as LLaVA does


def tower_pixels(image: np.ndarray, size: int) -> np.ndarray:
    """Return the input of a vision tower.

    Args:
        image: uint8 [H, W, 3], RGB, 0 to 255.
        size: side of the input in pixels.

    Returns:
        float32 [size, size, 3], of mean 0 and standard deviation 1 over CLIP's training images.
    """
    picture = Image.fromarray(image)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), _MARGIN)
    square.paste(picture, tuple((side - length) // 2 for length in picture.size))
    levels = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
    scaled = (levels.astype(np.float64) / 255).astype(np.float32)
    return (scaled - np.float32(MEAN)) / np.float32(DEVIATION)


def blank_image(size: int) -> np.ndarray:
    """Return an image of CLIP's mean colour alone, uint8 [size, size, 3]."""
    return np.full((size, size, 3), _MARGIN, np.uint8)


def noise_image(size: int, seed: int) -> np.ndarray:
    """Return an image of independent uniform levels, uint8 [size, size, 3]."""
    levels = np.random.default_rng(seed).integers(0, 256, (size, size, 1), np.uint8)
    return np.repeat(levels, 3, axis=-1)
