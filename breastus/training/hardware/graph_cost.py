"""Sizes and lifetimes of tensors, and multiply-adds, from the TensorFlow graph of a network.

A training step (forward pass, loss, gradients) or a forward pass is traced, not computed. So every
layer counts with its real tensors, nested and custom layers too: the scores of a window attention,
float32 copies within half-precision norms.

Rules for the memory of tensors:
    - The output of an operation lives until its last consumer has run. So the forward pass keeps
      what the gradients need, and nothing else.
    - A reshape, an identity and a read of a variable share the memory of their input.
    - An element-wise operation writes into an input of the same size if no later one needs it.
    - Tensors whose size is a multiple of the batch grow with it; others, such as half-precision
      copies of the weights, do not.
    - Operations run in the order of the trace.
    - Convolutions work on a copy of their data in another layout: one more tensor, as large as the
      largest output of a convolution, is added. Without it, the study's CNN in float32 needed more
      memory than planned.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

# Number of images in the trace: a prime that no layer has as a size, so that a tensor whose size it
# divides grows with the batch.
_BATCH = 1009

_SHARES_MEMORY = {"Reshape", "Identity", "ExpandDims", "Squeeze", "StopGradient", "ReadVariableOp"}
_SHARES_MEMORY |= {"PreventGradient", "StridedSlice", "IdentityN"}
_IN_PLACE = {"Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SelectV2"}
_IN_PLACE |= {"BiasAdd", "Relu", "Relu6", "ReluGrad", "Relu6Grad", "Softmax", "Neg", "Exp", "Erf"}
_IN_PLACE |= {"Square", "Sqrt", "Rsqrt", "RsqrtGrad", "Tanh", "TanhGrad", "Sigmoid", "Log", "Pow"}
_IN_PLACE |= {"FusedBatchNormV3", "FusedBatchNormGradV3", "Gelu", "LeakyRelu", "Log1p", "Abs"}
_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}


@dataclass(frozen=True)
class Footprint:
    """Bytes alive after each operation of a step, as `fixed + batch * an_image`.

    Args:
        fixed: bytes that do not grow with the batch, float64 [operations].
        an_image: bytes for each image, float64 [operations].
        workspace: bytes of the convolutions for each image.
        forward: number of operations of the forward pass.
        operations: number of operations of the whole graph.
    """

    fixed: np.ndarray
    an_image: np.ndarray
    workspace: float
    forward: int
    operations: int

    def kept(self, batch: int) -> int:
        """Return the bytes that the forward pass keeps for the backward pass."""
        last = self.forward - 1
        return int(self.fixed[last] + batch * self.an_image[last])

    def peak(self, batch: int) -> int:
        """Return the largest number of bytes alive at a time, without gradients of the weights."""
        return int((self.fixed + batch * (self.an_image + self.workspace)).max())


def footprint(model: keras.Model, *, training: bool = True) -> Footprint:
    """Trace a training step or a forward pass, and follow the lifetimes of its tensors.

    Args:
        model: a built network with one input of a fixed image size, in the precision of the
            training.
        training: true if gradients are computed.
    """
    graph, forward, outputs = _trace(model, batch=_BATCH, training=training)
    operations = _needed(graph.get_operations(), outputs)
    inputs_of = [[tensor.ref() for tensor in operation.inputs] for operation in operations]
    buffer: dict = {}  # tensor to number of its memory
    sizes, last_use = [], []

    # First: which tensors share memory, and how long each memory is needed.
    for position, operation in enumerate(operations):
        inputs = inputs_of[position]
        for tensor in inputs:
            if buffer[tensor] is not None:
                last_use[buffer[tensor]] = position
        for number, tensor in enumerate(operation.outputs):
            key = tensor.ref()
            if operation.type in _SHARES_MEMORY and inputs:
                buffer[key] = buffer[inputs[min(number, len(inputs) - 1)]]
                continue
            size = _bytes(tensor)
            grows = size % _BATCH == 0
            if size == 0:
                buffer[key] = None
                continue
            buffer[key] = len(sizes)
            sizes.append((size, grows))
            last_use.append(position)
    for tensor in outputs:
        number = buffer[tensor.ref()]
        if number is None:
            continue
        last_use[number] = len(operations) - 1
        if not sizes[number][1]:
            sizes[number] = (0, False)  # a gradient of a weight, counted elsewhere

    # Second: which operations reuse memory that is free, and how much is alive after each one.
    change = np.zeros((2, len(operations) + 1))
    taken_over: dict[int, int] = {}  # memory to the operation from which it is reused
    for position, operation in enumerate(operations):
        for tensor in operation.outputs:
            number = buffer[tensor.ref()]
            if number is None or operation.type in _SHARES_MEMORY:
                continue
            size, grows = sizes[number]
            change[int(grows), position] += size
            if operation.type in _IN_PLACE:
                for source in inputs_of[position]:
                    old = buffer[source]
                    free = old is not None and last_use[old] == position
                    if free and old not in taken_over and sizes[old] == (size, grows):
                        taken_over[old] = position
                        break
    for number, (size, grows) in enumerate(sizes):
        change[int(grows), taken_over.get(number, last_use[number] + 1)] -= size
    alive = np.cumsum(change, axis=1)[:, :-1]
    within = sum(operation.name in forward for operation in operations)
    workspace = max(
        (
            _bytes(operation.outputs[0])
            for operation in operations
            if operation.type in _CONVOLUTIONS
        ),
        default=0,
    )
    return Footprint(
        alive[0], alive[1] / _BATCH, workspace / _BATCH, within, len(graph.get_operations())
    )


def flops(model: keras.Model) -> int:
    """Return the floating-point operations of one image's forward pass.

    Convolutions and matrix products count, with two operations for a multiply-add (many papers
    count one). Element-wise operations, a few percent, do not count.

    Args:
        model: a built network with one input of a fixed image size.
    """
    graph, _, _ = _trace(model, batch=1, training=False)
    return sum(2 * _multiply_adds(operation) for operation in graph.get_operations())


def _trace(model: keras.Model, *, batch: int, training: bool):
    forward: set[str] = set()

    def step(images):
        probabilities = model(images, training=training)
        names = (operation.name for operation in tf.compat.v1.get_default_graph().get_operations())
        forward.update(names)
        return probabilities

    def step_with_gradients(images):
        with tf.GradientTape() as tape:
            # Any loss will do, because its tensors are small.
            loss = tf.reduce_sum(tf.math.log(step(images)))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return [gradient for gradient in gradients if gradient is not None]

    spec = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32)
    traced = tf.function(step_with_gradients if training else step, autograph=False)
    graph = traced.get_concrete_function(spec).graph
    return graph, forward, graph.outputs


def _needed(operations: list, outputs: list) -> list:
    """Return the operations that the outputs depend on, in the order of the trace."""
    needed, open_ = set(), [tensor.op for tensor in outputs]
    while open_:
        operation = open_.pop()
        if operation not in needed:
            needed.add(operation)
            open_.extend(tensor.op for tensor in operation.inputs)
    return [operation for operation in operations if operation in needed]


def _bytes(tensor: tf.Tensor) -> int:
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or not tensor.shape.is_fully_defined():
        return 0
    return tensor.shape.num_elements() * tensor.dtype.size


def _multiply_adds(operation: tf.Operation) -> int:
    kind = operation.type
    if kind not in ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "Einsum"):
        return 0
    elements = operation.outputs[0].shape.num_elements()
    first, second = (tensor.shape.as_list() for tensor in operation.inputs)
    if kind == "Conv2D":
        height, width, channels, _ = second
        return elements * height * width * channels
    if kind == "DepthwiseConv2dNative":
        return elements * second[0] * second[1]
    if kind == "Einsum":
        terms, _ = operation.get_attr("equation").decode().split("->")
        sides = {}
        for labels, shape in zip(terms.split(","), (first, second), strict=True):
            sides.update(zip(labels, shape, strict=True))
        return int(np.prod(list(sides.values())))
    transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
    return elements * first[-2 if transposed else -1]
