"""Measure breastus and KerasHub in TensorFlow: one job a process, started by `make bench`."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmarks.speed.timing import durations, measured, work

BATCH, SIZE = 32, 224  # of the job `parts`


def versions(job: dict) -> dict:
    """Return machine and versions."""
    from breastus.runs.environment import describe_hardware, hardware
    from breastus.runs.environment import versions as installed

    known = installed()
    names = ("breastus", "tensorflow", "keras", "keras-hub")
    return {
        "machine": describe_hardware(hardware()),
        "versions": {name: known[name] for name in names},
    }


def peak(job: dict) -> dict:
    """Measure products of two square matrices."""
    import tensorflow as tf

    side = job["matrix"]
    left, right = (
        tf.cast(tf.random.stateless_normal((side, side), (0, seed)), job["precision"])
        for seed in (1, 2)
    )
    product = tf.function(tf.matmul)
    # Reading one number waits for all of them.
    call = lambda: product(left, right)[0, 0].numpy()  # noqa: E731
    return _result(product=measured(2 * side**3, call, seconds=job["seconds"]))


def network(job: dict) -> dict:
    """Measure prediction and training of a network."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    batch, size = job["batch"], job["size"]
    images = tf.constant(rng.normal(size=(batch, size, size, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)
    model = _compiled(job)
    if job.get("steps"):
        return _in_a_row(model, images, labels, steps=job["steps"], seconds=job["seconds"])
    return _result(
        predict=measured(batch, lambda: model.predict_on_batch(images), seconds=job["seconds"]),
        train=measured(batch, lambda: model.train_on_batch(images, labels), seconds=job["seconds"]),
    )


def _in_a_row(model, images, labels, *, steps: int, seconds: float) -> dict:
    """Measure steps in a row, after which the device is waited for once; and `fit` of as many."""
    import tensorflow as tf

    start = time.perf_counter()
    model.predict_on_batch(images)
    model.train_on_batch(images, labels)
    first_calls = round(time.perf_counter() - start, 1)

    def train():
        for _ in range(steps):
            logs = model.train_function(iter([(images, labels, None)]))
        float(logs["loss"])

    def predict():
        for _ in range(steps):
            probabilities = model.predict_function([(images,)])
        probabilities.numpy()

    batches = tf.data.Dataset.from_tensors((images, labels)).repeat(steps).prefetch(2)
    count = steps * len(images)
    result = _result(
        train=measured(count, train, seconds=seconds),
        predict=measured(count, predict, seconds=seconds),
        fit=measured(count, lambda: model.fit(batches, verbose=0), seconds=seconds),
    )
    if tf.config.list_physical_devices("GPU"):
        result["memory_mb"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] >> 20
    return {**result, "first_calls": first_calls}


def augmentation(job: dict) -> dict:
    """Measure the policy `study` on one core."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts cores
    import numpy as np
    import tensorflow as tf

    from breastus.augmentation.base import image_seed
    from breastus.augmentation.policies import build_augmenter

    augment = build_augmenter("study")
    size = job["size"]
    grey = np.random.default_rng(0).integers(0, 256, (128, size, size, 1), dtype="uint8")
    images = grey.repeat(3, axis=-1)
    if job["images"] == "colour":
        images[..., 0] ^= 1  # a difference of one channel is enough for a colour image
    images = tf.constant(images)
    # As in training: batches are augmented as a whole.
    batches = (
        tf.data.Dataset.range(len(images), output_type=tf.int32)
        .map(
            lambda index: (images[index], image_seed(0, 0, index)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(32)
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    )

    def epoch():
        for _ in batches:
            pass

    return _result(images=measured(len(images), epoch, seconds=job["seconds"]))


def parts(job: dict) -> dict:
    """Return one row for each other part of breastus: its name and its speed."""
    seconds = job["seconds"]
    command = [sys.executable, "-m", "breastus", "--help"]
    taken = _median(lambda: subprocess.run(command, check=True, capture_output=True), seconds)
    rows = [("`breastus --help`", f"{taken:.2f} s")]
    from breastus.utils.quiet import import_tensorflow

    import_tensorflow()
    from breastus.data.manifest.build import load_manifest
    from breastus.data.splits.make import make_splits
    from breastus.phantoms.simulation import simulate_phantom
    from breastus.runs.environment import peak_memory_mb

    indices = iter(range(10**6))
    taken = _median(lambda: [simulate_phantom(0, next(indices)) for _ in range(10)], seconds) / 10
    rows.append(("simulating phantoms", f"{1 / taken:.0f} images/s on one core"))
    # Once: the second time the files are in memory.
    (taken,) = durations(
        lambda: make_splits(load_manifest(job["data"])), seconds=0, warm_up=0, least=1
    )
    manifest = load_manifest(job["data"])
    sources = ", ".join(sorted(set(manifest["source"])))
    steps = "reading, hashing, near-duplicates, splits"
    rows.append((f"preparing {len(manifest)} images of {sources} ({steps})", f"{taken:.1f} s"))
    rows += [(name, f"{rate:.0f} images/s") for name, rate in _image_rates(seconds).items()]
    rows.append(("peak memory of this process", f"{peak_memory_mb():.0f} MiB"))
    return {"rows": rows, "measurements": {}}


def _image_rates(seconds: float) -> dict[str, float]:
    """Return images a second of decoding, augmentation and a bundle."""
    import numpy as np
    import tensorflow as tf

    from breastus.augmentation.base import image_seed
    from breastus.augmentation.policies import build_augmenter
    from breastus.config.schema import Config
    from breastus.data.sources.phantom import write_phantoms
    from breastus.deploy.serving import ServingModule
    from breastus.preprocessing.transform import Transform
    from breastus.training.network import new_model

    config = Config.from_dict({"model": {"image_size": SIZE}})
    transform, augment = Transform.of(config), build_augmenter("study")
    with tempfile.TemporaryDirectory() as folder:
        phantoms = write_phantoms(Path(folder) / "phantoms", count=BATCH, seed=0)
        encoded = [p.read_bytes() for p in phantoms.rglob("*.png") if "mask" not in p.name][:BATCH]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(
        transform.decode, num_parallel_calls=tf.data.AUTOTUNE
    )
    pixels = np.random.default_rng(0).integers(0, 255, (BATCH, SIZE, SIZE, 3))
    images = tf.constant(pixels.astype("float32"))
    augmented = tf.data.Dataset.from_tensor_slices((images, tf.range(BATCH))).map(
        lambda image, index: augment(image, image_seed(0, 0, index)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    bundle = ServingModule(new_model(config), transform)
    files = tf.constant(encoded)
    calls = {
        "decoding, trimming, resizing": lambda: decoded.batch(BATCH).get_single_element(),
        "augmentation `study`, on all cores": lambda: augmented.batch(BATCH).get_single_element(),
        "bundle of `cnn`, from file bytes to probabilities": lambda: bundle.predict_bytes(files),
    }
    return {name: BATCH / _median(call, seconds) for name, call in calls.items()}


def _median(call, seconds: float) -> float:
    return statistics.median(durations(call, seconds=seconds, warm_up=1))


def _compiled(job: dict):
    import keras

    from breastus.config.schema import Config
    from breastus.training.network import Execution, compile_model, new_model

    config = Config.from_dict(
        {
            "model": {"name": job["network"], "image_size": job["size"], "weights": None},
            "training": {"batch_size": job["batch"]},
        }
    )
    from breastus.training.hardware.profiles import let_memory_grow

    let_memory_grow()
    policy = job["precision"] if job["precision"] == "float32" else f"mixed_{job['precision']}"
    execution = Execution(precision=policy, jit_compile=job["xla"])
    if job.get("hub"):
        keras.config.set_dtype_policy(policy)
        model = _hub_swin(job["size"])
    else:
        model = new_model(config, precision=policy)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=100, execution=execution)
    return model


def _hub_swin(size: int):
    import keras
    from keras_hub.models import SwinTransformerBackbone

    backbone = SwinTransformerBackbone(
        image_shape=(size, size, 3),
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
    )
    x = keras.layers.GlobalAveragePooling1D()(backbone.output)  # tokens, not a map
    x = keras.layers.Dense(2, activation="softmax", dtype="float32")(x)
    return keras.Model(backbone.input, x)


def _result(**measurements) -> dict:
    from breastus.runs.environment import peak_memory_mb

    return {"measurements": measurements, "memory_mb": round(peak_memory_mb())}


if __name__ == "__main__":
    work(
        {function.__name__: function for function in (versions, peak, network, augmentation, parts)}
    )
