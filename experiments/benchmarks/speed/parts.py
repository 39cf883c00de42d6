"""Measure the parts of breastus around its networks: called by `make bench`."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.benchmarks.speed.timing import durations, work

BATCH, SIZE = 32, 224


def parts(job: dict) -> dict:
    """Return one row a part: its name, and how fast it is."""
    seconds = job["seconds"]
    rows = [("`breastus --help`", f"{_help(seconds):.2f} s")]
    from breastus.cli.quiet import import_tensorflow

    import_tensorflow()
    rows += _phantoms(seconds)
    rows += _data(job["data"])
    rows += _images(seconds)
    return {"rows": rows, "measurements": {}}


def _median(call, seconds: float) -> float:
    return statistics.median(durations(call, seconds=seconds, warm_up=1))


def _help(seconds: float) -> float:
    command = [sys.executable, "-m", "breastus", "--help"]
    return _median(lambda: subprocess.run(command, check=True, capture_output=True), seconds)


def _phantoms(seconds: float) -> list[tuple[str, str]]:
    from breastus.phantoms.simulation import simulate_phantom

    indices = iter(range(10**6))
    taken = _median(lambda: [simulate_phantom(0, next(indices)) for _ in range(10)], seconds) / 10
    return [("simulating phantoms", f"{1 / taken:.0f} images/s on one core")]


def _data(where: str) -> list[tuple[str, str]]:
    from breastus.data.manifest.build import load_manifest
    from breastus.data.splits.make import make_splits

    # Once: the second time the files are in memory.
    (taken,) = durations(lambda: make_splits(load_manifest(where)), seconds=0, warm_up=0, least=1)
    manifest = load_manifest(where)
    sources = ", ".join(sorted(set(manifest["source"])))
    steps = "reading, hashing, near-duplicates, splits"
    return [(f"preparing {len(manifest)} images of {sources} ({steps})", f"{taken:.1f} s")]


def _images(seconds: float) -> list[tuple[str, str]]:
    import numpy as np
    import tensorflow as tf

    from breastus.augmentation.base import image_seed
    from breastus.augmentation.policies import build_augmenter
    from breastus.config.schema import Config
    from breastus.data.sources.phantom import write_phantoms
    from breastus.deploy.serving import ServingModule
    from breastus.preprocessing.transform import Transform
    from breastus.runs.environment import peak_memory_mb
    from breastus.training.network import new_model

    config = Config.from_dict({"model": {"image_size": SIZE}})
    transform, augment = Transform.from_config(config), build_augmenter("study")

    with tempfile.TemporaryDirectory() as folder:
        phantoms = write_phantoms(Path(folder) / "phantoms", count=BATCH, seed=0)
        encoded = [p.read_bytes() for p in phantoms.rglob("*.png") if "mask" not in p.name][:BATCH]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(
        transform.decode, num_parallel_calls=tf.data.AUTOTUNE
    )
    decoding = _median(lambda: decoded.batch(BATCH).get_single_element(), seconds)

    pixels = np.random.default_rng(0).integers(0, 255, (BATCH, SIZE, SIZE, 3))
    images = tf.constant(pixels.astype("float32"))
    augmented = tf.data.Dataset.from_tensor_slices((images, tf.range(BATCH))).map(
        lambda image, index: augment(image, image_seed(0, 0, index)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    augmenting = _median(lambda: augmented.batch(BATCH).get_single_element(), seconds)

    served = ServingModule(new_model(config), transform)
    files = tf.constant(encoded)
    serving = _median(lambda: served.predict_bytes(files), seconds)
    return [
        ("decoding, trimming, resizing", f"{BATCH / decoding:.0f} images/s"),
        ("augmentation `study`, on all cores", f"{BATCH / augmenting:.0f} images/s"),
        ("bundle of `cnn`, from file bytes to probabilities", f"{BATCH / serving:.0f} images/s"),
        ("peak memory of this process", f"{peak_memory_mb():.0f} MiB"),
    ]


if __name__ == "__main__":
    work({"parts": parts})
