"""`breastus doctor`: versions, hardware, data, what to change. Status 1 if broken."""

import argparse
import json
from typing import Any

from breastus.utils.quiet import import_tensorflow

_WIDTH = 24

EXAMPLES = ("breastus doctor", "breastus doctor --profile t4   # is this GPU here?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    from breastus.workflows.doctor import Examination

    examination = Examination(args.profile)
    advice, problems = examination.advice(), examination.problems
    if args.format == "json":
        print(json.dumps({**examination.found, "notes": advice, "problems": problems}, indent=2))
        return int(bool(problems))
    _print_found(examination.found, asked=args.profile)
    for text in advice:
        print(f"\nNote: {text}")
    for problem in problems:
        print(f"\nProblem: {problem}")
    return int(bool(problems))


def _print_found(found: dict[str, Any], *, asked: str) -> None:
    print("Versions")
    for name, version in found["versions"].items():
        print(f"  {name:<{_WIDTH}}{version}")
    print("\nHardware")
    for name, text in found["hardware"].items():
        print(f"  {name:<{_WIDTH}}{text}")
    print("\nData (--data auto takes the first that exists)")
    for name, text in found["data"].items():
        print(f"  {name:<{_WIDTH}}{text}")
    print("  then the hub; without a network, phantoms")
    if profile := found["profile"]:
        taken = profile["name"] if profile["name"] != "auto" else "specific to this GPU"
        print("\nProfile")
        print(f"  {asked + ' takes':<{_WIDTH}}{taken}")
        print(f"  {'why':<{_WIDTH}}{profile['why']}")
        print(f"  {'precision':<{_WIDTH}}{profile['precision']}")
        if limit := profile["memory_limit"]:
            print(f"  {'memory limit of a GPU':<{_WIDTH}}{limit / 2**30:.1f} GB")
        print(f"  {'XLA':<{_WIDTH}}{profile['xla']}")
