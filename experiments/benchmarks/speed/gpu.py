"""Speed on a GPU

Random images of 224 x 224 pixels lie on the GPU. The first table has the best of the precisions and
modes below, each measured in a process of its own: steps in a row, after which the GPU is
waited for once. `fit` is training as breastus does it, with images that come from the host. Memory
is the largest that the framework's allocator had handed out.

    python -m experiments.benchmarks.speed.gpu --rivals .venv-bench

`make bench-gpu` runs it. It takes ten minutes at most, the most informative first, and writes
experiments/BENCH.md after each measurement: what it did not get to, or what took too long, is said
in the row. --device cpu --quick tries it where there is no GPU, with tiny batches.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from breastus.errors import RunError
from experiments.benchmarks.speed.__main__ import Workers, machine_and_versions
from experiments.benchmarks.speed.figures import Figures
from experiments.benchmarks.speed.variants import Variant
from experiments.pages import BENCH, HERE, run_script, table, title_and_text, write_section
from experiments.records import without_folders

BATCH = {"cnn": 256, "swin": 64}
PRECISIONS = ("bfloat16", "float16")
STEPS = 10
EPOCHS, IMAGES = 20, 275  # of the study's training
_NAMES = {"cnn": "the study's CNN", "swin": "Swin-T"}
_FASTEST = {"ours": "breastus", "rival": "PyTorch"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=BENCH, help="page (default: BENCH.md)")
    parser.add_argument("--figures", type=Path, default=HERE / "records" / "speed_gpu.json")
    parser.add_argument(
        "--rivals", type=Path, default=Path(".venv-bench"), help="PyTorch's environment, or Python"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="a measurement (default: 3)")
    parser.add_argument("--limit", type=float, default=100.0, help="of a process, in seconds")
    parser.add_argument("--budget", type=float, default=570.0, help="of all, in seconds")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--quick", action="store_true", help="batches of two, one step")
    args = parser.parse_args()

    end = time.monotonic() + args.budget
    workers = Workers(args.rivals, limit=args.limit)
    card = workers.ask("rivals", {"what": "card"})
    card.pop("error", None)  # PyTorch is not there: each of its rows says so
    where = {**machine_and_versions(workers), **driver(), **card}
    if args.device == "gpu" and "no GPU" in where["machine"]:
        raise RunError(
            "TensorFlow finds no GPU; `breastus doctor` may know why. --device cpu --quick tries "
            "the benchmark without one. Received: --device gpu"
        )
    figures = Figures(args.figures, where)
    command = without_folders(
        shlex.join(["python", "-m", "experiments.benchmarks.speed.gpu", *sys.argv[1:]])
    )
    for variant in gpu_variants(quick=args.quick):
        left = end - time.monotonic()
        figures.forget(variant.key)
        if left < 10:
            result = {"error": f"not begun within {args.budget:.0f} s"}
        else:
            print(f"{variant.key}, {left:.0f} s left", flush=True)
            job = {**variant.job, "seconds": args.seconds}
            result = workers.ask(variant.worker, job, limit=min(args.limit, left))
        figures.add(variant.key, result)
        write_section(args.out, "speed-gpu", page(figures, command, quick=args.quick))
    print(f"{args.out} written")


def gpu_variants(*, quick: bool = False) -> list[Variant]:
    """Return all variants, the most informative first: compiling may take longer than there is."""
    return [
        _variant(network, role, precision, compiled, quick)
        for compiled in (False, True)
        for precision in PRECISIONS
        for network in BATCH
        for role in _FASTEST
    ]


def _variant(network: str, role: str, precision: str, compiled: bool, quick: bool) -> Variant:
    job = {
        "what": "network",
        "network": network,
        "batch": 2 if quick else BATCH[network],
        "size": 224,
        "precision": precision,
        "steps": 1 if quick else STEPS,
    }
    if role == "ours":
        name = "breastus, XLA" if compiled else "breastus"
        return Variant(network, name, "ours", {**job, "xla": compiled}, precision, role)
    options = {"compiled": compiled, "channels_last": network == "cnn"}
    library = "PyTorch" if network == "cnn" else "timm"
    name = f"{library}, {'compiled' if compiled else 'eager'}"
    return Variant(network, name, "rivals", {**job, **options}, precision, role)


def driver() -> dict[str, str]:
    """Return the version of the NVIDIA driver, if there is one."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"driver": done.stdout.splitlines()[0].strip()}


def page(figures: Figures, command: str, *, quick: bool = False) -> str:
    """Return the section of BENCH.md."""
    where = dict(figures.where)
    packages = ", ".join(f"{name} {version}" for name, version in where.pop("versions").items())
    machine = where.pop("machine")
    facts = ", ".join(f"{name} {value}" for name, value in where.items())
    variants = gpu_variants(quick=quick)
    lines = [*title_and_text(__doc__), "", f"`{command}`", ""]
    lines += ["; ".join(filter(None, (machine, facts, packages))), ""]
    ratios = [
        _ratio(figures, variants, network, measurement)
        for network in BATCH
        for measurement in ("train", "predict")
    ]
    columns = ["images/s", "breastus", "PyTorch", ""]
    lines += [*table(columns, ratios), ""]
    seconds = [f"{_NAMES[n]} {_epochs(figures, variants, n)}" for n in BATCH]
    lines += [
        f"{EPOCHS} epochs of {IMAGES} images, by arithmetic from `fit`: {', '.join(seconds)}.",
        "",
    ]
    columns = ["", "precision", "training", "prediction", "`fit`", "memory, MiB", "first calls, s"]
    for network in BATCH:
        rows = [
            _row(figures, variant)
            for variant in variants
            if variant.part == network and variant.key in figures.rounds
        ]
        batch = variants[0].job["batch"] if quick else BATCH[network]
        lines += [f"### {_NAMES[network]}, batches of {batch}", "", *table(columns, rows), ""]
    return "\n".join(lines[:-1])


def _best(
    figures: Figures, variants: list[Variant], network: str, measurement: str, role: str
) -> tuple[float, Variant] | None:
    found = [
        (rate, variant)
        for variant in variants
        if (variant.part, variant.role) == (network, role)
        and (rate := figures.median(variant.key, measurement)) is not None
    ]
    return max(found, key=lambda pair: pair[0], default=None)


def _ratio(figures: Figures, variants: list[Variant], network: str, measurement: str) -> list[Any]:
    best = [_best(figures, variants, network, measurement, role) for role in _FASTEST]
    verb = "training" if measurement == "train" else "predicting with"
    cells = [
        f"{found[0]:,.0f} ({found[1].name}, {found[1].precision})" if found else "not measured"
        for found in best
    ]
    ratio = f"{best[0][0] / best[1][0]:.2f} times" if all(best) else ""
    return [f"{verb} {_NAMES[network]}", *cells, ratio]


def _epochs(figures: Figures, variants: list[Variant], network: str) -> str:
    found = _best(figures, variants, network, "fit", "ours")
    return f"{EPOCHS * IMAGES / found[0]:.1f} s" if found else "not measured"


def _row(figures: Figures, variant: Variant) -> list[Any]:
    (result,) = figures.rounds[variant.key]
    cells: list[Any] = [variant.name, variant.precision]
    for measurement in ("train", "predict", "fit"):
        rate = figures.median(variant.key, measurement)
        error = figures.error(variant.key, measurement) if "error" in result or rate is None else ""
        cells.append(f"{rate:,.0f}" if rate is not None else (error or "").replace("|", "/"))
        if "error" in result:
            return [*cells, *[""] * 4]
    return [*cells, result.get("memory_mb") or "", result.get("first_calls", "")]


if __name__ == "__main__":
    run_script(main)
