"""What a forward pass costs, from the TensorFlow graph of a network: operations and bytes.

The graph is traced, not computed. Every layer counts with its real tensors, nested and custom
layers too.
"""

import keras
import numpy as np
import tensorflow as tf

# Number of images in the trace: a prime that no layer has as a size, so that a tensor whose size it
# divides grows with the batch.
_BATCH = 1009
# Their outputs are their inputs, or overwrite them, because no gradient needs either.
_SHARES_MEMORY = {"Reshape", "Identity", "IdentityN", "ExpandDims", "Squeeze", "StopGradient"}
_SHARES_MEMORY |= {"BiasAdd", "AddV2", "Sub"}


def flops(model: keras.Model) -> int:
    """Return the operations of a forward pass of one image: a multiply-add counts as two.

    Matrix products and convolutions count; norms, activations and the like do not.
    """
    return sum(2 * _multiply_adds(operation) for operation in _operations(model, batch=1))


def activation_bytes(model: keras.Model) -> int:
    """Return the size of the tensors of a forward pass in training, in bytes for each image.

    Operations that overwrite their input do not count.
    """
    sizes = [
        tensor.shape.num_elements() * tensor.dtype.size
        for operation in _operations(model, batch=_BATCH, training=True)
        if operation.type not in _SHARES_MEMORY
        for tensor in operation.outputs
        if tensor.dtype.size and tensor.shape.is_fully_defined()
    ]
    return sum(size // _BATCH for size in sizes if size % _BATCH == 0)


def _operations(model: keras.Model, *, batch: int, training: bool = False) -> list[tf.Operation]:
    spec = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32)
    traced = tf.function(lambda images: model(images, training=training), autograph=False)
    return traced.get_concrete_function(spec).graph.get_operations()


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
