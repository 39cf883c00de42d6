"""How much memory a training takes, before it is started: a plan in parts, by batch size."""

import math
from dataclasses import dataclass, fields

import keras
import tensorflow as tf

from breastus.models.weights.kerashub import needs_keras_hub
from breastus.training.hardware.memory_trace import footprint

MIB = 2**20
# Of the optimizers: float32 values a trainable weight, besides the weight and its gradient.
_SLOTS = {"adamw": 2, "adam": 2, "sgd": 1}
# Resident memory of a process that trains, without its tensors, as measured on Linux (x86-64) with
# TensorFlow 2.21 (experiments/benchmarks/memory.py): base; for each operation of the training
# step, which tracing, optimising and compiling leave behind; and for KerasHub, where the network is
# one of its.
_FRAMEWORK, _FRAMEWORK_AN_OPERATION, _KERAS_HUB = 900 * MIB, 40 * 2**10, 150 * MIB


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The parts of a training's memory, in bytes.

    Args:
        weights: of the network, float32, and their moving average if there is one.
        gradients: of the trainable weights, and their sum if a batch comes in parts.
        slots: what the optimizer keeps for each weight.
        activations: what the forward pass keeps for the backward pass.
        temporary: what else is alive at the moment of the highest need, such as the scores of an
            attention, a convolution's gradient or half-precision copies.
        framework: TensorFlow itself; 0 on a GPU, where the profile's reserve stands for it.
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
    """Plans of one network for any batch size; the network is traced once.

    Args:
        model: a built network, in the precision it is to be trained in.
        optimizer: "adamw", "adam" or "sgd".
        ema: whether a moving average of the weights is kept.
        training: False plans prediction alone.
        gpu: whether it runs on a GPU, whose memory does not hold the framework.
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
        """Return the plan for so many images at once.

        Args:
            batch: images at once.
            accumulation_steps: batches whose gradients are summed to one update of the weights.
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
        """Return how many images at once fit into `memory` bytes; 0 if not even one does."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.plan(middle).total <= memory
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def smallest_accumulation(self, batch: int, memory: int, *, devices: int = 1) -> int:
        """Return into how many equal parts a batch must be cut to fit; 0 if none are small enough.

        Args:
            batch: images an update of the weights.
            memory: bytes that each device has.
            devices: how many share each part.
        """
        for steps in range(1, batch + 1):
            at_once = -(-batch // (steps * devices))
            if batch % steps == 0 and self.plan(at_once, accumulation_steps=steps).total <= memory:
                return steps
        return 0


def memory_plan(model: keras.Model, *, batch: int, **options) -> MemoryPlan:
    """Return what training a network on batches of `batch` images takes.

    Args:
        model: a built network, in the precision it is to be trained in.
        batch: images at once.
        **options: as `MemoryPlanner` takes them.

    Example:
        >>> memory_plan(breastus.build_model("cnn"), batch=32).weights
        1065224
    """
    return MemoryPlanner(model, **options).plan(batch)


def _bytes(variable: keras.Variable) -> int:
    return math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
