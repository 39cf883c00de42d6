"""The seed of a network's weights, order, augmentation and dropout."""

import numpy as np

from breastus.config import Config


def network_seed(config: Config) -> int:
    """Return the experiment's seed, or of a later turn of a fold one of its own, below 2**31.

    The networks of a fold are averaged. From the same weights, on the same views of mostly the same
    images, they would make the same errors, and their mean as well.
    """
    if not config.data.turn:
        return config.seed
    drawn = np.random.SeedSequence([config.seed, config.data.turn]).generate_state(1)
    return int(drawn[0] >> 1)
