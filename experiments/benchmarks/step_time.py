"""Where the time of a training step goes, operation by operation, on this processor.

    python -m experiments.benchmarks.step_time                  # writes into BENCH.md
    python -m experiments.benchmarks.step_time --model compact  # prints one network's table

TensorFlow's profiler watches steps of AdamW on random images of 224 x 224 pixels, in the precision
that a training here would choose. Given is each kind of operation's share of the time that the
cores had together; what is left of it they waited, or did what the profiler gives no name to.
"""

import argparse
import functools
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from breastus.cli.quiet import import_tensorflow
from breastus.errors import RunError
from experiments.pages import BENCH, run_script, write_section

NETWORKS = {"cnn": 32, "swin": 16}  # batches as in the benchmark
SIZE, STEPS, SHOWN = 224, 3, 14
# An event of an operation: its name in the graph and its kind.
_OPERATION = re.compile(r"[\w./]+:(_Mkl(?:Native)?)?(\w+)")


class StepTime(NamedTuple):
    """What was measured of a network.

    Attributes:
        model: its name.
        batch: images at once.
        precision: of its training.
        seconds: of a step without the profiler.
        shares: kind of operation to its share of the cores' time, largest first.
    """

    model: str
    batch: int
    precision: str
    seconds: float
    shares: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="print this network's table; default: cnn and swin")
    parser.add_argument("--batch", type=int, default=16, help="of --model (default: 16)")
    parser.add_argument("--out", type=Path, default=BENCH)
    args = parser.parse_args()
    import_tensorflow()

    from breastus.runs.environment import describe_hardware, hardware

    networks = {args.model: args.batch} if args.model else NETWORKS
    text = section(
        [measure(*network) for network in networks.items()], describe_hardware(hardware())
    )
    print(text)
    if not args.model:
        write_section(args.out, "step-time", text)


def measure(name: str, batch: int) -> StepTime:
    """Train a few steps without the profiler, and a few with it."""
    import numpy as np
    import tensorflow as tf

    from breastus.config.presets import default_config
    from breastus.runs.environment import hardware
    from breastus.training.hardware.profiles import find_profile, in_its_precision
    from breastus.training.network import compile_model, new_model

    config = default_config(name).replace({"model": {"weights": None}})
    build = functools.partial(new_model, config)
    precision, model = in_its_precision(find_profile(), build)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=STEPS)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, SIZE, SIZE, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)

    def train() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(images, labels)
        return time.perf_counter() - start

    train()  # the graph is made
    seconds = train()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            watched = train()
        kinds = operations(Path(folder))
    had = watched * hardware()["cores"]
    shares = {kind: found / had for kind, found in kinds.most_common()}
    return StepTime(name, batch, precision, seconds / STEPS, shares)


def operations(folder: Path) -> Counter:
    """Return kind of operation to the seconds that cores spent in it, from a profile on disk.

    Raises:
        RunError: when there is none, or it names no operations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    kinds: Counter = Counter()
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    if found := _OPERATION.fullmatch(name):
                        kinds[found[2]] += event.duration_ps / 1e12
    if not kinds:
        raise RunError("The profiler named no operations: this TensorFlow writes another format.")
    return kinds


def section(found: list[StepTime], machine: str) -> str:
    """Return the tables as Markdown."""
    lines = [
        "## Where the time of a training step goes",
        "",
        f"`python -m experiments.benchmarks.step_time`; {machine}. {STEPS} steps of AdamW at "
        f"{SIZE} x {SIZE} pixels, watched by TensorFlow's profiler. Shares "
        "of the time that the cores had together; "
        "an operation that is fused counts as the one it is fused into.",
    ]
    for step in found:
        shown = list(step.shares.items())[:SHOWN]
        others = sum(step.shares.values()) - sum(share for _, share in shown)
        lines += [
            "",
            f"{step.model}, {step.precision}, batches of {step.batch}: {step.seconds:.2f} s a "
            f"step, {step.batch / step.seconds:.1f} images/s.",
            "",
            "| operation | share |",
            "|---|---|",
            *(f"| {kind} | {share:.1%} |" for kind, share in shown),
            f"| {len(step.shares) - len(shown)} other kinds | {others:.1%} |",
            f"| waiting, and what has no name | {1 - sum(step.shares.values()):.1%} |",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
