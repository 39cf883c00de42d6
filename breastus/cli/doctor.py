"""`breastus doctor`: versions, hardware, data, memory plans, what to change. Status 1 if broken."""

import argparse
import functools
import json
from typing import Any

from breastus.cli.options import add_import
from breastus.utils.quiet import import_tensorflow

_TITLES = ("network", "pixels", "precision", "largest batch", "batch", "parts", "planned")
_COLUMNS = "  {:<27}{:>6}  {:<15}{:>14}{:>7}{:>7}  {}"
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

    if not has_driver():
        import_tensorflow()  # where there is a driver, its start-up notes are worth reading
    from breastus.models.registry import check_model, list_models
    from breastus.workflows.doctor import Examination

    for name in args.model or ():
        check_model(name)
    examination = Examination(args.profile)
    say = (lambda *_: None) if args.format == "json" else functools.partial(print, flush=True)
    _print_found(examination.found, say, asked=args.profile)

    networks = args.model or (list_models() if args.memory else [])
    plans = []
    if examination.profile and networks:
        say("\nMemory plans for training")
        say(_COLUMNS.format(*_TITLES))
        for plan in examination.memory_plans(networks, args.image_size):
            plans.append(plan)
            say(_COLUMNS.format(*_cells(plan)))
        say("  batch: the default; parts: pieces a batch is cut into; planned: memory of one part.")
        say("  Plans were compared with measured peaks on a CPU; no GPU was tried.")
    elif examination.profile:
        say("\nMemory plans for training: breastus doctor --memory, or --model NETWORK")

    advice, problems = examination.advice(plans), examination.problems
    if args.format == "json":
        rows = {"fits": plans, "notes": advice, "problems": problems}
        print(json.dumps({**examination.found, **rows}, indent=2))
    for text in advice:
        say(f"\nNote: {text}")
    for problem in problems:
        say(f"\nProblem: {problem}")
    return int(bool(problems))


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
