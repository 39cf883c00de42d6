"""Memory: estimated and measured

On a processor, a rough estimate decides into how many parts a batch is cut at first: the size of
the tensors of the forward pass and of the optimizer's values. Each row is a process of its own that
trains three steps of AdamW on random images of 224 x 224 pixels. What it takes is its largest
resident size (VmHWM, on Linux) less its size before the first step, so TensorFlow's growth while it
traces is in it.

    python -m experiments.benchmarks.memory                          # writes into BENCH.md
    python -m experiments.benchmarks.memory --model cnn --model swin

Two cores: about ten minutes.
"""

import argparse
import json
from pathlib import Path

from breastus.errors import RunError
from breastus.utils.quiet import import_tensorflow
from experiments.benchmarks.process import measure_apart
from experiments.pages import BENCH, run_script, table, title_and_text, write_section

NETWORKS = ("cnn", "compact", "efficientnet_lite0", "swin")
PRECISIONS = ("float32", "mixed_bfloat16")
BATCHES = (16,)
SIZE, STEPS, MIB = 224, 3, 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="network; may be given several times")
    parser.add_argument("--batch", action="append", type=int, help="images in a batch")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: both")
    parser.add_argument("--one", action="store_true", help="measure in this process, print JSON")
    args = parser.parse_args()
    import_tensorflow()
    if args.one:
        print(json.dumps(measure(args.model[0], args.precision, args.batch[0])))
        return

    from breastus.runs.environment import describe_hardware, hardware

    rows = []
    for model in args.model or NETWORKS:
        for precision in [args.precision] if args.precision else PRECISIONS:
            for batch in args.batch or BATCHES:
                rows.append(measure_in_process(model, precision, batch))
                print(rows[-1], flush=True)
    if not args.model:
        write_section(BENCH, "memory", section(rows, describe_hardware(hardware())))


def measure_in_process(model: str, precision: str, batch: int) -> dict:
    """Return what `measure` returns, from a process of its own."""
    options = ("--model", model, "--precision", precision, "--batch", batch)
    return measure_apart("experiments.benchmarks.memory", "--one", *options)


def measure(name: str, precision: str, batch: int) -> dict:
    """Train a few steps; return what they take by estimate and by measurement, in bytes."""
    import numpy as np
    import tensorflow as tf

    from breastus.config.schema import Config
    from breastus.training.hardware.batch_parts import step_memory
    from breastus.training.network import compile_model, new_model

    network = {"name": name, "image_size": SIZE}
    config = Config.from_dict({"model": network, "training": {"accumulation_steps": 1}})
    model = new_model(config, precision=precision)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=STEPS)
    before = _status("VmRSS")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, SIZE, SIZE, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat(STEPS).prefetch(2)
    model.fit(batches, verbose=0)
    fixed, image = step_memory(model)
    row = {"model": name, "precision": precision, "batch": batch}
    return {**row, "estimate": fixed + batch * image, "measured": _status("VmHWM") - before}


def section(rows: list[dict], machine: str) -> str:
    """Return the section of BENCH.md."""
    shares = [row["estimate"] / row["measured"] for row in rows]
    columns = ["network", "precision", "batch", "estimated", "measured", "estimated / measured"]
    cells = []
    for row, share in zip(rows, shares, strict=True):
        sizes = [f"{row[key] / MIB:.0f}" for key in ("estimate", "measured")]
        cells.append([row["model"], row["precision"], row["batch"], *sizes, f"{share:.2f}"])
    lines = [
        *title_and_text(__doc__),
        "",
        f"`python -m experiments.benchmarks.memory`; {machine}. Sizes in MiB. The estimate is "
        f"{min(shares):.2f} to {max(shares):.2f} of the measured memory.",
        "",
        *table(columns, cells),
    ]
    return "\n".join(lines)


def _status(field: str) -> int:
    # getrusage reports the peak of the parent process if that is larger.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RunError(f"{field} is not in /proc/self/status. Memory is measured on Linux only.")


if __name__ == "__main__":
    run_script(main)
