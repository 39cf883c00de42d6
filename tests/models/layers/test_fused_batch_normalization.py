"""Batch normalisation as one operation equals Keras' layer, wherever that can be used."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization
from breastus.models.registry import build_model

# Keras rounds to half precision where we do, but sums in another order: one unit of the last place.
TOLERANCE = {"float32": 1e-5, "mixed_float16": 1e-3, "mixed_bfloat16": 8e-3}
KINDS = (FusedBatchNormalization, layers.BatchNormalization)
SHAPES = [(4, 6, 5, 8), (3, 7, 7, 33), (1, 4, 4, 3), (3, 1, 1, 3)]


def made(kind, channels=8, rank=4, **options):
    """A layer with weights that are not those it starts with."""
    layer = kind(momentum=0.7, **options)
    shape = [None] * rank
    shape[layer.axis] = channels
    layer.build(tuple(shape))
    rng = np.random.default_rng(0)
    layer.set_weights([w + rng.uniform(0.2, 0.9, w.shape) for w in layer.get_weights()])
    return layer


def maps(shape, seed=1, dtype="float32"):
    """Feature maps off centre, with a scale of their own in each channel."""
    rng = np.random.default_rng(seed)
    x = 3.0 + rng.normal(size=shape) * rng.uniform(0.5, 4.0, shape[-1])
    return tf.cast(x, dtype)


def results(layer, x, *, training=True, steps=1, compiled=None):
    """Outputs, gradients and statistics after some steps, as float64 arrays."""
    upstream = tf.cast(np.random.default_rng(2).normal(size=x.shape), layer.compute_dtype)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        return [y, *tape.gradient(y, [x, *(v.value for v in layer.trainable_weights)], upstream)]

    step = compiled(step) if compiled else step
    for number in range(steps):
        found = step(x * (1.0 + number))
    return [np.asarray(tf.cast(v, tf.float64)) for v in [*found, *layer.get_weights()]]


def assert_equal(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        scale = max(1.0, np.abs(other).max(initial=0.0))
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_values_gradients_and_statistics_are_keras(shape, training, precision):
    both = [
        results(made(kind, shape[-1], dtype=precision), maps(shape), training=training, steps=3)
        for kind in KINDS
    ]
    assert_equal(*both, TOLERANCE[precision])


@pytest.mark.parametrize(
    "options",
    [
        {"scale": False},
        {"center": False},
        {"scale": False, "center": False},
        {"epsilon": 1e-5},  # ResNet's; cuDNN's lowest is a little above
        {"epsilon": 1e-7},
        {"axis": 3},
        {"axis": 1},  # this and the following are left to Keras
        {"renorm": True},
        {"synchronized": True},
        {"dtype": "float64"},
    ],
)
def test_every_option_does_what_it_does_in_keras(options):
    # Little variance, so that epsilon counts.
    x = maps((4, 8, 5, 8), dtype=options.get("dtype", "float32")) * 1e-2
    both = [results(made(kind, **options), x) for kind in KINDS]
    # Keras takes the variance over devices as a difference of squares.
    assert_equal(*both, 1e-5 if "epsilon" in options or "synchronized" in options else 2e-6)


@pytest.mark.parametrize("shape", [(16, 8), (6, 5, 8), (2, 3, 4, 4, 8)])
def test_other_ranks_are_keras(shape):
    both = [results(made(kind, rank=len(shape)), maps(shape)) for kind in KINDS]
    assert_equal(*both, 1e-5)


def test_masked_positions_do_not_count():
    x, mask = maps((4, 6, 5, 8)), np.random.default_rng(0).uniform(size=(4, 6, 5)) > 0.3
    both = [made(kind) for kind in KINDS]
    for layer in both:
        layer(x, training=True, mask=tf.constant(mask))
    for one, other in zip(*(layer.get_weights() for layer in both), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_frozen_it_uses_its_statistics_and_keeps_them():
    x, before = maps((4, 6, 5, 8)), made(FusedBatchNormalization).get_weights()
    both = [made(kind) for kind in KINDS]
    for layer in both:
        layer.trainable = False
    assert_equal(*(results(layer, x, training=True) for layer in both), 1e-5)
    for one, other in zip(both[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "compiled",
    [
        lambda step: tf.function(step, autograph=False),
        lambda step: tf.function(step, autograph=False, jit_compile=True),
        lambda step: tf.function(
            step, autograph=False, input_signature=[tf.TensorSpec((None, None, None, None))]
        ),
    ],
    ids=["graph", "xla", "unknown sizes"],
)
def test_compiled_it_is_the_same(compiled):
    x = maps((4, 6, 5, 8))
    ours = results(made(FusedBatchNormalization), x, steps=2, compiled=compiled)
    assert_equal(ours, results(made(layers.BatchNormalization), x, steps=2), 1e-5)


def test_one_value_a_channel_is_its_own_mean():
    both = [made(kind, 2) for kind in KINDS]
    x = maps((1, 1, 1, 2))
    # Keras' layer is off by 1e-4 here: it multiplies first and subtracts then.
    np.testing.assert_allclose(both[0](x, training=True)[0, 0, 0], both[0].beta, rtol=1e-6)
    both[1](x, training=True)
    for one, other in zip(*(layer.get_weights() for layer in both), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_an_empty_batch_leaves_the_statistics_alone():
    layer = made(FusedBatchNormalization)
    before = layer.get_weights()
    assert layer(tf.zeros((0, 4, 4, 8)), training=True).shape == (0, 4, 4, 8)
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def network(kind):
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3)(image)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(kind()(x)))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


@pytest.fixture
def trained():
    keras.utils.set_random_seed(0)
    model = network(FusedBatchNormalization)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(maps((8, 9, 9, 3)), np.arange(8) % 2, epochs=2, verbose=0)
    return model


def test_files_and_copies_keep_it(trained, tmp_path):
    x = maps((2, 9, 9, 3), seed=5)
    trained.save(tmp_path / "model.keras")
    trained.export(tmp_path / "saved_model", verbose=False)
    copy = keras.models.clone_model(trained)
    copy.set_weights(trained.get_weights())
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    served = tf.saved_model.load(tmp_path / "saved_model")
    for model in (copy, loaded):
        assert type(model.layers[2]) is FusedBatchNormalization
    for call in (copy, loaded, served.serve):
        np.testing.assert_allclose(call(x), trained(x), atol=1e-6)


def test_the_same_seed_gives_the_same_bits():
    # Large enough for several threads to share the work.
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = network(FusedBatchNormalization)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(maps((16, 64, 64, 3)), np.arange(16) % 2, batch_size=8, epochs=2, verbose=0)
        runs.append(model.get_weights())
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


_ON_TWO_DEVICES = """
import keras
import numpy as np
import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(processor, [half, half])

from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization

rng = np.random.default_rng(0)
images = rng.normal(2, 3, (12, 9, 9, 3)).astype("float32")
data = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 2)).batch(8)
results = []
for kind in (FusedBatchNormalization, keras.layers.BatchNormalization):
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential(
            [
                keras.Input((9, 9, 3)),
                kind(momentum=0.7),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(data, epochs=2, verbose=0)
    results.append([*model.get_weights(), model.predict(images, verbose=0)])
for one, other in zip(*results, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
assert abs(results[0][2]).min() > 0.5  # the moving means: they did move
"""


@pytest.mark.slow
def test_two_devices_do_what_they_do_with_keras_layer():
    # A process of its own: how many devices there are is decided before TensorFlow starts.
    command = [sys.executable, "-c", _ON_TWO_DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compact", "efficientnet_lite0", "resnet50", "hybrid"])
def test_networks_use_it(name):
    model = build_model(name, image_size=224)
    norms = [x for x in model._flatten_layers() if isinstance(x, layers.BatchNormalization)]
    assert norms
    assert all(type(norm) is FusedBatchNormalization for norm in norms)
