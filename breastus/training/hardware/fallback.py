"""Train again in a simpler way where memory is exhausted or XLA fails: halve the part, drop XLA.

    train_with_fallback(train, execution, config, changed=remember)

Nothing is planned: a step that does not fit says so. `train` begins at the last saved state, or at
the seed, so what an interrupted step has changed does not matter.
"""

import gc
import re
import sys
from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.training.hardware.batch_parts import more_parts
from breastus.training.network import Execution

Result = TypeVar("Result")
# TensorFlow's allocator, XLA, CUDA, cuDNN and Python.
_NO_MEMORY = re.compile(
    r"\bOOM\b|out of memory|CUDA_ERROR_OUT_OF_MEMORY|STATUS_ALLOC_FAILED|MemoryError", re.IGNORECASE
)
_NO_SPACE = re.compile(r"no space left|quota", re.IGNORECASE)


def train_with_fallback(
    train: Callable[[Execution], Result],
    execution: Execution,
    config: Config,
    *,
    devices: int = 1,
    changed: Callable[[Execution], None] = lambda execution: None,
) -> Result:
    """Return `train(execution)`, called in a simpler way after each failure that this can cure.

    Args:
        train: function that trains to the end with an execution, from the last saved state.
        execution: execution to start with.
        config: settings of the training.
        devices: number of devices that share each batch.
        changed: called with each other execution before it is tried.

    Raises:
        HardwareError: if not even one image fits, several devices share a batch, or an operation
            is not deterministic that has to be.
    """
    while True:
        try:
            return train(execution)
        except tf.errors.OpError as error:
            execution, reason = _simpler(execution, config, devices, error)
        gc.collect()  # the network and the tensors of the failure
        print(reason, file=sys.stderr, flush=True)
        changed(execution)


def _simpler(
    execution: Execution, config: Config, devices: int, error: tf.errors.OpError
) -> tuple[Execution, str]:
    """Return the execution to try next and why, or raise the error."""
    text = str(error).strip()
    what = text.splitlines()[0][:150] if text else type(error).__name__
    batch, parts = config.training.batch_size, execution.accumulation_steps
    exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
    if _NO_MEMORY.search(text) or (exhausted and not _NO_SPACE.search(text)):
        if devices > 1:
            raise HardwareError(
                f"Memory is exhausted on one of the {devices} devices that share each "
                f"batch ({what}). Use a smaller batch (training.batch_size), or one device, which "
                "can work in parts (training.devices=1). Received: "
                f"training.batch_size={batch}"
            ) from error
        if not (more := more_parts(parts, batch)):
            name, size = config.model.name, config.model.image_size
            raise HardwareError(
                f"{name} at {size} x {size} pixels does not fit into memory, not even one image at "
                f"a time ({what}). Use smaller images (model.image_size) or another network, or "
                f"end other processes on this device. Received: model.image_size={size}"
            ) from error
        reason = f"Memory is exhausted; batches of {batch} images are now cut into {more} parts."
        return execution._replace(accumulation_steps=more), reason
    if config.training.deterministic and "determinis" in text.lower():
        raise HardwareError(
            f"TensorFlow has no deterministic form of an operation of {config.model.name} on this "
            f"device ({what}). Use training.deterministic=false, or training.profile=cpu. "
            "Received: training.deterministic=true"
        ) from error
    if execution.jit_compile:
        reason = (
            f"A step compiled by XLA failed ({what}). Training continues without XLA; "
            "training.xla=off avoids the attempt."
        )
        return execution._replace(jit_compile=False), reason
    raise error
