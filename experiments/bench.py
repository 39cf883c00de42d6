"""How fast the parts are, on this machine: `make bench`, printed as a table.

    python experiments/bench.py --data path/to/BUSI --out bench.md

Each part is run once to warm up and then for some seconds; the median of the repeats is printed.
The network is the study's, 224 x 224 pixels, batch 32, float32. Run it on a machine that does
nothing else.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from breastus.cli.options import add_data, add_out
from breastus.cli.quiet import import_tensorflow
from breastus.errors import BreastusError
from breastus.files import write_text

SECONDS = 6.0  # how long each part is repeated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    add_out(parser, "write the table to this file as well")
    args = parser.parse_args()

    rows = [("`breastus --help`", f"{_help():.2f} s")]
    import_tensorflow()
    rows += _phantoms()
    rows += _data(args.data or "auto")
    rows += _network()

    from breastus.training.environment import command_line, describe_hardware, hardware, versions

    installed = versions()
    packages = ", ".join(
        f"{name} {installed[name]}" for name in ("breastus", "tensorflow", "keras")
    )
    lines = [
        "# Benchmark",
        "",
        f"`{command_line()}`",
        "",
        f"{describe_hardware(hardware())}; {packages}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if args.out:
        write_text(args.out, text)


def median_seconds(call: Callable[[], object]) -> float:
    """Return the median duration of a call, the first one left out."""
    call()
    durations, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(durations) < 3:
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def _help() -> float:
    command = [sys.executable, "-m", "breastus", "--help"]
    return median_seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def _phantoms() -> list[tuple[str, str]]:
    from breastus.data.simulation import simulate_phantom

    indices = iter(range(10**6))
    seconds = median_seconds(lambda: [simulate_phantom(0, next(indices)) for _ in range(10)]) / 10
    return [("simulating phantoms", f"{1 / seconds:.0f} images/s on one core")]


def _data(where: str) -> list[tuple[str, str]]:
    from breastus.data.manifest import load_manifest
    from breastus.data.splits import make_splits

    start = time.perf_counter()
    manifest = load_manifest(where)
    make_splits(manifest)
    seconds = time.perf_counter() - start
    return [
        (
            f"preparing {len(manifest)} images of {', '.join(sorted(set(manifest['source'])))} "
            "(reading, hashing, near-duplicates, splits)",
            f"{seconds:.1f} s",
        )
    ]


def _network() -> list[tuple[str, str]]:
    import keras
    import numpy as np
    import tensorflow as tf

    from breastus.augmentation.layers import image_seed
    from breastus.augmentation.policies import build_augmenter
    from breastus.config import Config
    from breastus.data.sources.phantom import write_phantoms
    from breastus.deploy.export import ServingModule
    from breastus.preprocessing.transform import Transform
    from breastus.training.environment import peak_memory_mb
    from breastus.training.trainer import compile_model, new_model

    config = Config()
    batch, size = config.training.batch_size, config.model.image_size
    transform, augment = Transform.of(config), build_augmenter("study")
    rng = np.random.default_rng(0)

    with tempfile.TemporaryDirectory() as folder:
        phantoms = write_phantoms(Path(folder) / "phantoms", count=32, seed=0)
        encoded = [p.read_bytes() for p in phantoms.rglob("*.png") if "mask" not in p.name][:batch]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(
        transform.decode, num_parallel_calls=tf.data.AUTOTUNE
    )
    decoding = median_seconds(lambda: [len(decoded.batch(batch).get_single_element())])

    images = tf.constant(rng.integers(0, 255, (batch, size, size, 3)).astype("float32"))
    indices = tf.range(batch)
    augmented = tf.data.Dataset.from_tensor_slices((images, indices)).map(
        lambda image, index: augment(image, image_seed(0, 0, index)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    augmenting = median_seconds(lambda: augmented.batch(batch).get_single_element())

    model = new_model(config)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=1)
    inputs = transform.tone(images)
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)
    training = median_seconds(lambda: model.train_on_batch(inputs, labels))
    predicting = median_seconds(lambda: model.predict_on_batch(inputs))
    served = ServingModule(model, transform, 1.0)
    files = tf.constant(encoded)
    serving = median_seconds(lambda: served.predict_bytes(files))
    keras.backend.clear_session()
    return [
        ("decoding, trimming, resizing", f"{batch / decoding:.0f} images/s"),
        ("augmentation `study`", f"{batch / augmenting:.0f} images/s"),
        ("training step of `cnn`", f"{batch / training:.0f} images/s"),
        ("prediction of `cnn`", f"{batch / predicting:.0f} images/s"),
        ("bundle, from file bytes to probabilities", f"{batch / serving:.0f} images/s"),
        ("peak memory of this process", f"{peak_memory_mb():.0f} MiB"),
    ]


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
