"""Memory that a checkpoint needs, from its shapes, before a weight is read."""

import math
from dataclasses import dataclass

from breastus.errors import HardwareError
from breastus.training.hardware.devices import GIB, Machine, this_machine
from breastus.vlm.llava_config import LlavaConfig

PRECISIONS = ("bfloat16", "float16", "float32")
QUANTIZATIONS = ("none", "int8")
_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
_USABLE = 0.92  # share of the memory beside the runtime and intermediate results


@dataclass(frozen=True)
class Memory:
    """Bytes that a loaded model needs: its weights, and the keys and values of its context."""

    weights: int
    cache: int

    @property
    def total(self) -> int:
        """Weights and cache together."""
        return self.weights + self.cache


def needed_memory(config: LlavaConfig, *, precision: str, quantize: str) -> Memory:
    """Return the memory that a checkpoint needs.

    With "int8" the matrices of the language model take one byte a weight and one number in full
    precision for each of their outputs; tower, projector and norms stay as they are.
    """
    size, weights = _BYTES[precision], 0
    language = tuple(config.layout[part] for part in ("head.", "language."))
    others = tuple(config.layout[part] for part in ("vision.", "projector.1.", "projector.2."))
    for name, shape in config.shapes().items():
        count = math.prod(shape)
        # In the original layout the prefix of the language model begins all names.
        matrix = len(shape) == 2 and name.startswith(language) and not name.startswith(others)
        weights += count + shape[0] * size if quantize == "int8" and matrix else count * size
    text = config.language
    cache = 2 * text.layers * text.key_heads * text.head_width * config.context * size
    return Memory(weights, cache)


def check_memory(
    config: LlavaConfig, *, precision: str, quantize: str, machine: Machine | None = None
) -> Memory:
    """Return the memory that a checkpoint needs; refuse it if the machine has less.

    Args:
        machine: None takes this one. The first GPU counts, or without one the main memory; a
            machine of unknown size is not refused.

    Raises:
        HardwareError: says how much is needed and what would fit.
    """
    machine = machine or this_machine()
    gpu = machine.gpus[0] if machine.gpus else None
    available, where = (gpu.memory, gpu.name) if gpu else (machine.memory, "this machine")
    needed = needed_memory(config, precision=precision, quantize=quantize)
    if not available or needed.total <= available * _USABLE:
        return needed
    smaller = needed_memory(config, precision="bfloat16", quantize="int8")
    if quantize != "int8" and smaller.total <= available * _USABLE:
        way_out = f"--quantize int8 needs {_gb(smaller.total)} and fits"
    else:
        way_out = (
            f"Use a machine or a GPU with more memory: at least {_gb(smaller.total / _USABLE)}, "
            "with --quantize int8"
        )
    raise HardwareError(
        f"The model needs {_gb(needed.total)} of memory in {precision}"
        f"{', quantized to int8' if quantize == 'int8' else ''}, and {where} has "
        f"{_gb(available)}. {way_out}."
    )


def _gb(size: float) -> str:
    return f"{size / GIB:.1f} GB"
