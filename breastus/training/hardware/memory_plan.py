"""Memory that a training needs, planned before it starts: a network in, bytes by batch size out."""

import math
from dataclasses import dataclass, fields

import keras
import tensorflow as tf

from breastus.models.weights.kerashub import needs_keras_hub
from breastus.training.hardware.memory_trace import footprint

MIB = 2**20
# float32 values of the optimizer for each trainable weight.
_SLOTS = {"adamw": 2, "adam": 2, "sgd": 1}
# Resident memory of a training process without its tensors, measured on Linux (x86-64) with
# TensorFlow 2.21 by `experiments/benchmarks/memory.py`: a base, a part for each operation of the
# training step (from tracing, optimising and compiling), and a part for KerasHub if it is used.
_FRAMEWORK, _FRAMEWORK_AN_OPERATION, _KERAS_HUB = 900 * MIB, 40 * 2**10, 150 * MIB


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Memory of a training in bytes, by use.

    Args:
        weights: weights of the network in float32, and their moving average if there is one.
        gradients: gradients of the trainable weights, and their sum if they are accumulated.
        slots: values of the optimizer for each weight.
        activations: tensors that the forward pass keeps for the backward pass.
        temporary: other tensors at the peak, such as attention scores, the gradient of a
            convolution or half-precision copies.
        framework: TensorFlow itself; 0 on a GPU, where the profile has a reserve for it.
    """

    weights: int
    gradients: int
    slots: int
    activations: int
    temporary: int
    framework: int

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))

    def __str__(self) -> str:
        parts = (f"{part.name} {getattr(self, part.name) / MIB:.0f}" for part in fields(self))
        return f"{self.total / MIB:.0f} MiB ({', '.join(parts)})"


class MemoryPlanner:
    """Plans the memory of one network for any batch size; the network is traced once.

    Args:
        model: a built network in the precision of the training.
        optimizer: "adamw", "adam" or "sgd".
        ema: true if there is a moving average of the weights.
        training: true to plan training, false to plan predictions.
        gpu: true for a GPU, whose memory does not hold the framework.

    Examples:
        >>> MemoryPlanner(breastus.build_model("cnn")).plan(32).weights
        1065224
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        optimizer: str = "adamw",
        ema: bool = False,
        training: bool = True,
        gpu: bool = False,
    ):
        self._footprint = footprint(model, training=training)
        weights = sum(_bytes(variable) for variable in model.variables)
        trainable = sum(_bytes(variable) for variable in model.trainable_variables)
        self._weights = weights + training * ema * trainable
        self._gradients = training * trainable
        self._slots = training * _SLOTS[optimizer] * trainable
        self.operations = self._footprint.operations
        self._framework = 0
        if not gpu:
            self._framework = _FRAMEWORK + _FRAMEWORK_AN_OPERATION * self.operations
            self._framework += _KERAS_HUB * needs_keras_hub(model)
        self._training = training

    def plan(self, batch: int, *, accumulation_steps: int = 1) -> MemoryPlan:
        """Return the plan for a number of images at a time.

        Args:
            batch: number of images in a step.
            accumulation_steps: number of steps whose gradients are summed for one update.
        """
        peak = self._footprint.peak(batch)
        kept = self._footprint.kept(batch) if self._training else 0
        return MemoryPlan(
            weights=self._weights,
            gradients=self._gradients * (2 if accumulation_steps > 1 else 1),
            slots=self._slots,
            activations=kept,
            temporary=peak - kept,
            framework=self._framework,
        )

    def largest_batch(self, memory: int, *, limit: int = 4096) -> int:
        """Return the largest number of images in a step that fit into `memory` bytes; 0 if none."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.plan(middle).total <= memory
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def smallest_accumulation(self, batch: int, memory: int, *, devices: int = 1) -> int:
        """Return the smallest number of equal parts of a batch that fit; 0 if none does.

        Args:
            batch: number of images for one update of the weights.
            memory: number of bytes of each device.
            devices: number of devices that share each part.
        """
        for steps in range(1, batch + 1):
            at_once = -(-batch // (steps * devices))
            if batch % steps == 0 and self.plan(at_once, accumulation_steps=steps).total <= memory:
                return steps
        return 0


def _bytes(variable: keras.Variable) -> int:
    return math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
