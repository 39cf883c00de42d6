"""The parts of a batch that a training starts with on a processor, from a rough estimate.

On a GPU a training starts with whole batches, because TensorFlow reports there that memory is
exhausted (`fallback.py`). On a processor the system ends the process.
"""

import math
import sys

import keras

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.training.hardware.devices import free_memory
from breastus.training.hardware.graph_cost import activation_bytes

MIB = 2**20
_SHARE = 0.8  # of the free memory; other processes need some too
_VALUES = 12  # bytes for each weight: its gradient and two moments


def first_parts(model: keras.Model, config: Config) -> int:
    """Return the smallest number of parts of a batch that fit into the free memory by estimate.

    Beside `step_memory`, there is room for `training.cache_mb` of images. A cut changes rounding
    and the draws of dropout.

    Raises:
        HardwareError: if even one image does not fit.
    """
    free, batch = free_memory(), config.training.batch_size
    if not free:  # unknown, as on macOS and Windows
        return 1
    fixed, image = step_memory(model)
    fixed += config.training.cache_mb * MIB
    at_once = int(min(batch, (_SHARE * free - fixed) // image))
    needed = f"{(fixed + batch * image) / MIB:.0f} MiB are needed by a rough estimate"
    if at_once < 1:
        raise HardwareError(
            f"{config.model.name} at {config.model.image_size} x {config.model.image_size} pixels "
            f"does not fit into the {free / MIB:.0f} MiB of free memory: one image needs "
            f"{(fixed + image) / MIB:.0f} MiB by a rough estimate. Use smaller images "
            "(model.image_size), a smaller training.cache_mb or another network; or set "
            f"training.accumulation_steps={batch} to try. "
            f"Received: training.cache_mb={config.training.cache_mb}"
        )
    parts = math.ceil(batch / at_once)
    if parts > 1:
        print(
            f"Batches of {batch} images are cut into {parts} parts: {needed}, and "
            f"{free / MIB:.0f} MiB are free. training.accumulation_steps=1 forbids it.",
            file=sys.stderr,
            flush=True,
        )
    return parts


def step_memory(model: keras.Model) -> tuple[int, int]:
    """Return a rough estimate of the memory of a training step: bytes, and bytes for each image.

    It is the size of the optimizer's values and of the tensors of a forward pass. Some of these are
    not kept for the gradients, and the gradients have sizes of their own, so it is off by up to a
    factor of two: experiments/BENCH.md, section *Memory*, compares it with measured peaks.
    """
    return _VALUES * model.count_params(), activation_bytes(model)


def more_parts(parts: int, batch: int) -> int:
    """Return the number of parts of half the size; 0 if the parts are single images already."""
    at_once = math.ceil(batch / parts)
    return math.ceil(batch / (at_once // 2)) if at_once > 1 else 0
