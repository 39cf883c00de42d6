"""`breastus doctor`: versions, hardware, data, memory plans, what to change. Status 1 if broken."""

import argparse
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from breastus.cli.options import add_import
from breastus.cli.quiet import import_tensorflow
from breastus.config.presets import default_config
from breastus.errors import HardwareError, ModelError

_COLUMNS = "  {:<20}{:>6}  {:<15}{:>14}{:>7}{:>7}  {}"
_WIDTH = 24


EXAMPLES = (
    "breastus doctor",
    "breastus doctor --model swin --image-size 384   # does it fit into memory?",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        action="store_true",
        help="also plan the training memory of every network, which takes a minute",
    )
    parser.add_argument(
        "--model",
        metavar="NETWORK",
        action="append",
        help="plan the memory of this network alone; may be given several times (default: none)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="image size of the memory plans (default: the network's own, 224 pixels)",
    )
    add_import(parser)
    parser.add_argument(
        "--profile",
        choices=["auto", "cpu", "rtx2060", "t4"],
        default="auto",
        help="hardware profile, which this machine must have (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=["text", "json"],
        default="text",
        help="output format (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from breastus.training.hardware.devices import has_driver

    driver = has_driver()
    if not driver:
        import_tensorflow()  # where there is a driver, its start-up notes are worth reading
    from breastus.models.registry import check_model, list_models
    from breastus.runs.environment import hardware, versions
    from breastus.training.hardware.devices import this_machine
    from breastus.training.hardware.profiles import find_profile, let_memory_grow

    for name in args.model or ():
        check_model(name)
    networks = args.model or (list_models() if args.memory else [])
    let_memory_grow()
    machine, facts = this_machine(), hardware()
    problems = _problems(driver and not machine.gpus)
    try:
        profile = find_profile(args.profile, machine)
    except HardwareError as error:
        problems.append(str(error))
        profile = None

    found: dict[str, Any] = {
        "versions": versions(),
        "hardware": {
            "processor": f"{facts['processor']}, {machine.cores} usable cores",
            "bfloat16": "faster than float32 here"
            if machine.bfloat16
            else "not faster than float32 here",
            "memory": f"{machine.memory / 2**30:.1f} GB, {_free()}",
            "GPU": ", ".join(map(str, machine.gpus)) or "none; training runs on the CPU",
        },
        "data": _data(),
        "profile": {} if profile is None else vars(profile),
    }
    say = (lambda *_: None) if args.format == "json" else functools.partial(print, flush=True)
    _print_found(found, say, asked=args.profile)

    rows = []
    if profile is not None and networks:
        titles = ("network", "pixels", "precision", "largest batch", "batch", "parts", "planned")
        say("\nMemory plans for training")
        say(_COLUMNS.format(*titles))
        for row in _what_fits(networks, args.image_size, profile):
            rows.append(row)
            say(_COLUMNS.format(*_cells(row)))
        say("  batch: the default; parts: pieces a batch is cut into; planned: memory of one part.")
        say("  Plans were compared with measured peaks on a CPU; no GPU was tried.")
    elif profile is not None:
        say("\nMemory plans for training: breastus doctor --memory, or --model NETWORK")

    notes = _notes(machine, rows)
    if args.format == "json":
        print(json.dumps({**found, "fits": rows, "notes": notes, "problems": problems}, indent=2))
    for note in notes:
        say(f"\nNote: {note}")
    for problem in problems:
        say(f"\nProblem: {problem}")
    return int(bool(problems))


def _what_fits(names: list[str], image_size: int | None, profile) -> Iterator[dict[str, Any]]:
    import keras

    from breastus.training.hardware.profiles import in_its_precision, planner, usable_memory
    from breastus.training.network import new_model

    for name in names:
        settings: dict[str, Any] = {"weights": None}  # any weights take the same memory
        if image_size:
            settings["image_size"] = image_size
        asked = default_config(name).replace({"model": settings})
        memory, batch = usable_memory(profile, asked), asked.training.batch_size
        row = {"model": name, "image_size": asked.model.image_size}
        try:
            precision, model = in_its_precision(profile, functools.partial(new_model, asked))
        except ModelError as error:
            yield {**row, "error": str(error)}
            continue
        plans = planner(model, asked, profile)
        parts = plans.smallest_accumulation(batch, memory)
        plan = plans.plan(-(-batch // (parts or 1)), accumulation_steps=parts or 1)
        yield {
            **row,
            "precision": precision,
            "largest_batch": plans.largest_batch(memory),
            "batch": batch,
            "parts": parts,
            "planned_mib": round(plan.total / 2**20),
        }
        keras.backend.clear_session()


def _cells(row: dict[str, Any]) -> list[Any]:
    if "error" in row:
        return [row["model"], row["image_size"], row["error"], "", "", "", ""]
    parts = row["parts"] or "none"
    planned = f"{row['planned_mib']} MiB"
    names = ("model", "image_size", "precision", "largest_batch", "batch")
    return [*(row[name] for name in names), parts, planned]


def _print_found(found: dict[str, Any], say, *, asked: str) -> None:
    say("Versions")
    for name, version in found["versions"].items():
        say(f"  {name:<{_WIDTH}}{version}")
    say("\nHardware")
    for name, text in found["hardware"].items():
        say(f"  {name:<{_WIDTH}}{text}")
    say("\nData (--data auto takes the first that exists)")
    for name, text in found["data"].items():
        say(f"  {name:<{_WIDTH}}{text}")
    say("  then the hub; without a network, phantoms")
    if profile := found["profile"]:
        taken = profile["name"] if profile["name"] != "auto" else "specific to this GPU"
        say("\nProfile")
        say(f"  {asked + ' takes':<{_WIDTH}}{taken}")
        say(f"  {'why':<{_WIDTH}}{profile['why']}")
        say(f"  {'precision':<{_WIDTH}}{profile['precision']}")
        say(f"  {'memory for training':<{_WIDTH}}{profile['memory'] / 2**30:.1f} GB")
        say(f"  {'XLA':<{_WIDTH}}{profile['xla']}")


def _data() -> dict[str, str]:
    raw = Path("data", "raw")
    there = raw.is_dir() and any(raw.iterdir())
    return {
        "$BREASTUS_DATA": os.environ.get("BREASTUS_DATA", "not set"),
        "data/raw": "holds files" if there else "empty or missing",
    }


def _problems(driver_without_gpu: bool) -> list[str]:
    from breastus.utils.opencv import cv2

    problems = []
    if driver_without_gpu:
        problems.append(
            "There is an NVIDIA driver, but TensorFlow sees no GPU. Install its CUDA build: "
            "pip install 'breastus[gpu]'"
        )
    try:
        cv2.getVersionString()
    except ImportError as error:
        problems.append(str(error))
    return problems


def _notes(machine, rows: list[dict[str, Any]]) -> list[str]:
    notes = []
    if not machine.gpus and not machine.bfloat16:
        notes.append(
            "There is no GPU, and bfloat16 is no faster than float32 here: training runs in "
            "float32. Prefer small networks (efficientnet_lite0, compact, cnn)."
        )
    none = [row["model"] for row in rows if row.get("parts") == 0]
    cut = [row["model"] for row in rows if row.get("parts", 0) > 1]
    if none:
        notes.append(
            f"Not even one image at a time fits into memory for {', '.join(none)}. Choose a "
            "smaller --image-size, another network, or a machine with more memory."
        )
    if cut:
        notes.append(
            f"The default batch is cut into parts for {', '.join(cut)}. This happens "
            "automatically; a smaller --batch-size avoids it."
        )
    return notes


def _free() -> str:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # Linux only
        return "free unknown"
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return f"{kib / 2**20:.1f} GB free now"
