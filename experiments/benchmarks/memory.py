"""The memory plan against the memory that trainings really take, on this processor.

    python -m experiments.benchmarks.memory             # all networks; writes into BENCH.md
    python -m experiments.benchmarks.memory --model cnn --model swin

Each row is a process of its own that trains three steps of AdamW on random images of 224 x 224
pixels; its peak is the largest resident size that Linux saw (VmHWM). The plan is made afterwards.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from breastus.cli.quiet import import_tensorflow
from breastus.errors import RunError
from experiments.pages import run_script

PRECISIONS = ("float32", "mixed_bfloat16")
BATCHES = (4, 16, 32)
STEPS = 3
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="a network; may be given several times")
    parser.add_argument("--batch", action="append", type=int, help="images at once")
    parser.add_argument("--image-size", type=int, default=224, help="default: 224")
    parser.add_argument("--one", action="store_true", help="measure in this process, print JSON")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: both")
    args = parser.parse_args()
    batches = args.batch or BATCHES
    precisions = [args.precision] if args.precision else PRECISIONS
    import_tensorflow()
    if args.one:
        found = measure(args.model[0], precisions[0], batches[0], args.image_size)
        print(json.dumps(found))
        return

    from breastus.models.registry import list_models

    rows = []
    for model in args.model or list_models():
        for precision in precisions:
            for batch in batches:
                row = measure_apart(model, precision, batch, args.image_size)
                print(as_line(row), flush=True)
                rows.append(row)
    if not args.model:
        from breastus.runs.environment import describe_hardware, hardware
        from experiments.pages import BENCH, write_section

        write_section(BENCH, "memory", section(rows, describe_hardware(hardware())))


def measure_apart(model: str, precision: str, batch: int, size: int) -> dict:
    """Return what `measure` gives, from a process of its own."""
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.memory",
        "--one",
        "--model",
        model,
        "--precision",
        precision,
    ]
    command += ["--batch", str(batch), "--image-size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{model}, {precision}, batch {batch} did not run: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, precision: str, batch: int, size: int) -> dict:
    """Train a few steps; return the plan and the peak memory of this process, in bytes."""
    import numpy as np
    import tensorflow as tf

    from breastus.config.schema import Config
    from breastus.training.hardware.memory_plan import MemoryPlanner
    from breastus.training.network import compile_model, new_model

    network = {"name": name, "image_size": size}
    config = Config.from_dict({"model": network, "training": {"accumulation_steps": 1}})
    model = new_model(config, precision=precision)
    compile_model(model, config, labels=[0, 1], steps_per_epoch=STEPS)
    before = _status("VmRSS")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, size, size, 3)).astype("float32"))
    labels = tf.one_hot(rng.integers(0, 2, batch), 2)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat(STEPS).prefetch(2)
    model.fit(batches, verbose=0)
    peak = _status("VmHWM")
    planner = MemoryPlanner(model)
    plan = planner.plan(batch)
    return {
        "model": name,
        "precision": precision,
        "batch": batch,
        "before": before,
        "peak": peak,
        "plan": plan.total,
        "parts": vars(plan),
        "operations": planner.operations,
    }


def section(rows: list[dict], machine: str) -> str:
    """Return the table as Markdown, with the worst cases in a sentence."""
    shares = [row["plan"] / row["peak"] for row in rows]
    lines = [
        "## Memory: planned and measured",
        "",
        f"`python -m experiments.benchmarks.memory`; {machine}. MiB of a process that trains three "
        "steps of AdamW at 224 x 224 pixels. "
        f"The plan is {min(shares):.2f} to {max(shares):.2f} of the measured peak; "
        f"{sum(0.75 <= share <= 1.25 for share in shares)} of {len(rows)} are within 25 %.",
        "",
        "| network | precision | batch | planned | measured | planned / measured |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['precision']} | {row['batch']} | {row['plan'] / MIB:.0f} | "
        f"{row['peak'] / MIB:.0f} | {row['plan'] / row['peak']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def as_line(row: dict) -> str:
    parts = ", ".join(f"{name} {size / MIB:.0f}" for name, size in row["parts"].items())
    return (
        f"{row['model']:<20}{row['precision']:<16}{row['batch']:>4}  "
        f"planned {row['plan'] / MIB:6.0f}  measured {row['peak'] / MIB:6.0f} MiB  "
        f"{row['plan'] / row['peak']:.2f}  ({parts}; {row['before'] / MIB:.0f} before training)"
    )


def _status(field: str) -> int:
    # Not getrusage: its peak may be that of the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RunError(f"{field} is not in /proc/self/status: memory is measured on Linux only.")


if __name__ == "__main__":
    run_script(main)
