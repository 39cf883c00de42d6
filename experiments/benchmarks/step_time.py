"""Where the time of a training step goes

TensorFlow's profiler records three steps of AdamW on random images of 224 x 224 pixels, in the
precision that a training on this machine would choose. A row is the share of one kind of operation
in the time of all cores. A fused operation counts as the one it is fused into.

    python -m experiments.benchmarks.step_time                  # writes into BENCH.md
    python -m experiments.benchmarks.step_time --model compact  # prints the table of one network

Two cores: about a minute.
"""

import argparse
import functools
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from breastus.errors import RunError
from breastus.utils.quiet import import_tensorflow
from experiments.pages import BENCH, run_script, table, title_and_text, write_section

NETWORKS = {"cnn": 32, "swin": 16}  # batch sizes of the speed benchmark
SIZE, STEPS, SHOWN = 224, 3, 14
# An event of an operation: its name in the graph and its kind.
_OPERATION = re.compile(r"[\w./]+:(_Mkl(?:Native)?)?(\w+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="print the table of this network (default: cnn and swin)")
    parser.add_argument("--batch", type=int, default=16, help="batch size of --model (default: 16)")
    parser.add_argument("--out", type=Path, default=BENCH, help="page (default: BENCH.md)")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.runs.environment import describe_hardware, hardware

    networks = {args.model: args.batch} if args.model else NETWORKS
    found = [measure(*network) for network in networks.items()]
    text = section(found, describe_hardware(hardware()))
    print(text)
    if not args.model:
        write_section(args.out, "step-time", text)


def measure(name: str, batch: int) -> dict[str, Any]:
    """Time a few training steps without the profiler, and a few with it.

    Returns:
        `model`, `batch`, `precision`; `seconds` of a step without the profiler; and `shares`, kind
        of operation to its share of the time of all cores, largest first.
    """
    import numpy as np
    import tensorflow as tf

    from breastus.config.presets import default_config
    from breastus.runs.environment import hardware
    from breastus.training.hardware.profiles import choose_precision, find_profile
    from breastus.training.network import compile_model, new_model

    config = default_config(name).replace({"model": {"weights": None}})
    build = functools.partial(new_model, config)
    precision, model = choose_precision(find_profile(), build)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=STEPS)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, SIZE, SIZE, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)

    def train() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(images, labels)
        return time.perf_counter() - start

    train()  # traces the graph
    seconds = train()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            profiled = train()
        kinds = operations(Path(folder))
    available = profiled * hardware()["cores"]
    shares = {kind: spent / available for kind, spent in kinds.most_common()}
    step = {"model": name, "batch": batch, "precision": precision}
    return {**step, "seconds": seconds / STEPS, "shares": shares}


def operations(folder: Path) -> Counter:
    """Return kind of operation to the seconds that cores spent in it, from a profile on disk.

    Raises:
        RunError: when there is no profile, or it names no operations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    kinds: Counter = Counter()
    for file in folder.rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                if found := _OPERATION.fullmatch(name):
                    kinds[found[2]] += event.duration_ps / 1e12
    if not kinds:
        raise RunError("The profiler named no operations: this TensorFlow writes another format.")
    return kinds


def section(found: list[dict[str, Any]], machine: str) -> str:
    """Return the section of BENCH.md, from measurements as of `measure`."""
    command = f"`python -m experiments.benchmarks.step_time`; {machine}."
    lines = [*title_and_text(__doc__), "", command]
    for step in found:
        rows = list(step["shares"].items())[:SHOWN]
        total = sum(step["shares"].values())
        others = total - sum(share for _, share in rows)
        rows += [
            (f"{len(step['shares']) - len(rows)} other kinds", others),
            ("waiting, and events without a name", 1 - total),
        ]
        lines += [
            "",
            f"{step['model']}, {step['precision']}, batches of {step['batch']}: "
            f"{step['seconds']:.2f} s a step, {step['batch'] / step['seconds']:.1f} images/s.",
            "",
            *table(["operation", "share"], [[kind, f"{share:.1%}"] for kind, share in rows]),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
