"""Random erasing: cover a rectangle, so that no single place decides.

Reference:
    Zhong, Zheng, Kang, Li, Yang: Random Erasing Data Augmentation. AAAI 2020.
"""

import keras
import numpy as np

from breastus.augmentation.base import StatelessAugmentation, checked
from breastus.errors import ConfigError

# The paper's values: share of the image that is covered, and the sides' ratio (height to width).
_AREA, _RATIO = (0.02, 0.4), (0.3, 1 / 0.3)


@keras.saving.register_keras_serializable("breastus")
class RandomErasing(StatelessAugmentation):
    """Cover a random rectangle with the image's own mean: neither a shadow nor a cyst.

    The paper draws again when a rectangle does not fit; here it is cut at the image's size, which
    needs one draw.

    Args:
        probability: share of the images that are covered in part, 0 to 1.
        area: least and largest share of the image that is covered.
        value: grey level of the rectangle, 0 to 255; None for the image's mean in each channel.
    """

    def __init__(
        self,
        probability: float = 0.5,
        area: tuple[float, float] = _AREA,
        value: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.probability = checked("probability", probability, 0.0, 1.0)
        self.area = tuple(checked("area", share, 0.0, 1.0) for share in area)
        if self.area[0] > self.area[1]:
            raise ConfigError(f"area must be (least, largest). Received: {area}")
        self.value = None if value is None else checked("value", value, 0.0, 255.0)

    def change(self, image, rng, spare):
        chance, share, stretch, *place = rng.random(5)
        if chance >= self.probability:
            return image
        size = np.array(image.shape[:2])
        area = (self.area[0] + (self.area[1] - self.area[0]) * share) * size.prod()
        ratio = _RATIO[0] + (_RATIO[1] - _RATIO[0]) * stretch
        sides = np.minimum(np.sqrt([area * ratio, area / ratio]).round().astype(int), size)
        top, left = ((size - sides + 1) * place).astype(int)
        value = image.mean((0, 1)) if self.value is None else self.value
        spare[...] = image
        spare[top : top + sides[0], left : left + sides[1]] = value
        return spare

    def get_config(self):
        own = {"probability": self.probability, "area": self.area, "value": self.value}
        return {**super().get_config(), **own}
