"""Measure breastus and KerasHub, in TensorFlow: one job a process, called by `make bench`."""

import os

from experiments.benchmarks.speed.timing import measured, work


def versions(job: dict) -> dict:
    from breastus.runs.environment import describe_hardware, hardware
    from breastus.runs.environment import versions as installed

    known = installed()
    names = ("breastus", "tensorflow", "keras", "keras-hub")
    return {
        "machine": describe_hardware(hardware()),
        "versions": {name: known[name] for name in names},
    }


def peak(job: dict) -> dict:
    import tensorflow as tf

    side = job["matrix"]
    left, right = (
        tf.cast(tf.random.stateless_normal((side, side), (0, seed)), job["precision"])
        for seed in (1, 2)
    )
    product = tf.function(tf.matmul)
    # Reading one number waits for all of them.
    return _result(
        product=measured(
            2 * side**3,
            lambda: product(left, right)[0, 0].numpy(),
            seconds=job["seconds"],
        )
    )


def network(job: dict) -> dict:
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    batch, size = job["batch"], job["size"]
    images = tf.constant(rng.normal(size=(batch, size, size, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)
    model = _compiled(job)
    return _result(
        predict=measured(batch, lambda: model.predict_on_batch(images), seconds=job["seconds"]),
        train=measured(batch, lambda: model.train_on_batch(images, labels), seconds=job["seconds"]),
    )


def augmentation(job: dict) -> dict:
    _one_core()
    import numpy as np
    import tensorflow as tf

    from breastus.augmentation.base import image_seed
    from breastus.augmentation.policies import build_augmenter

    augment = build_augmenter("study")
    size = job["size"]
    grey = np.random.default_rng(0).integers(0, 256, (128, size, size, 1), dtype="uint8")
    images = grey.repeat(3, axis=-1)
    if job["images"] == "colour":
        images[..., 0] ^= 1  # one channel differs: enough that all three have to be worked on
    images = tf.constant(images)

    def example(index):
        return images[index], image_seed(0, 0, index)

    # As in training: put together into batches, which are augmented as a whole.
    batches = (
        tf.data.Dataset.range(len(images), output_type=tf.int32)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(32)
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    )

    def epoch():
        for _ in batches:
            pass

    return _result(images=measured(len(images), epoch, seconds=job["seconds"]))


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
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[job["precision"]]
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


def _one_core() -> None:
    """Keep this process on one core, before a framework counts how many there are."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _result(**measurements) -> dict:
    from breastus.runs.environment import peak_memory_mb

    return {"measurements": measurements, "memory_mb": round(peak_memory_mb())}


if __name__ == "__main__":
    work({"versions": versions, "peak": peak, "network": network, "augmentation": augmentation})
