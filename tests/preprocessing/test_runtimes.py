"""The transform and its views give the same pixels in TensorFlow, ONNX Runtime and LiteRT.

A test is skipped where its runtime is not installed; `make install` installs them all.
"""

import numpy as np
import pytest
import tensorflow as tf
from numpy_views import apply_view

from breastus.evaluation.tta import VIEWS
from breastus.preprocessing.transform import Transform
from breastus.training.predict_fn import view_images

PIXELS = [tf.TensorSpec([None, None, 3], tf.uint8, "image")]
SETTINGS = [
    Transform(image_size=64),
    pytest.param(Transform(image_size=72, aspect="keep", color="parula"), marks=pytest.mark.slow),
    pytest.param(Transform(image_size=40, trim=False, color="parula"), marks=pytest.mark.slow),
]


def images(speckle):
    """Return grey, coloured, bordered, black, tiny, long and large images."""
    rng = np.random.default_rng(0)
    colours = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((8, 8), (20, 300))]
    large = rng.integers(0, 256, (700, 500, 1), np.uint8).repeat(3, -1)
    bordered = np.pad(speckle(90, 100), ((5, 9), (20, 1), (0, 0)))
    return [speckle(187, 211), bordered, np.zeros((50, 40, 3), np.uint8), *colours, large]


def outputs(transform):
    """Return a function from an image to its pixels and the input of a network."""

    def apply(image):
        pixels = transform.crop_and_resize(image)
        return pixels, transform.normalize(pixels)

    return tf.function(apply, input_signature=PIXELS)


def onnx_of(graph):
    tf2onnx = pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, _ = tf2onnx.convert.from_function(graph, input_signature=graph.input_signature, opset=18)
    session = runtime.InferenceSession(model.SerializeToString())
    return lambda image: session.run(None, {"image": image})


def litert_of(graph):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()])
    interpreter = litert.Interpreter(model_content=converter.convert())
    entry = interpreter.get_input_details()[0]["index"]

    def run(image):
        interpreter.resize_tensor_input(entry, image.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry, image)
        interpreter.invoke()
        return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]

    return run


@pytest.mark.parametrize("transform", SETTINGS)
@pytest.mark.parametrize("convert", [onnx_of, litert_of])
def test_pixels_are_the_same_in_every_runtime(speckle, convert, transform):
    run = convert(outputs(transform))
    for image in images(speckle):
        expected = transform.crop_and_resize(tf.constant(image))
        pixels, network_input = sorted(run(image), key=lambda one: one.dtype.itemsize)
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_allclose(network_input, transform.normalize(expected), atol=1e-6)


@pytest.mark.parametrize("convert", [None, onnx_of, litert_of])
def test_views_of_a_fixed_size_have_the_same_pixels_in_every_runtime(convert):
    # Where all sizes are fixed, optimisers replace divisions by constants.
    view, images = VIEWS["flip_zoom"][2], np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
    images = images.astype(np.uint8)
    signature = [tf.TensorSpec([1, 32, 32, 3], tf.uint8, "image")]
    graph = tf.function(lambda image: view_images(view, image), input_signature=signature)
    found = convert(graph)(images)[0] if convert else graph(images)
    np.testing.assert_array_equal(found, apply_view(view, images))
