"""`breastus doctor`: what is installed, what hardware and data are there. Status 1 if broken."""

import argparse
import os
import shutil
from pathlib import Path

from breastus.cli.quiet import import_tensorflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # it takes none


def run(args: argparse.Namespace) -> int:
    gpu_driver = shutil.which("nvidia-smi")
    if not gpu_driver:
        import_tensorflow()  # with a driver there, what TensorFlow says of it is of interest

    from breastus.opencv import cv2
    from breastus.training.environment import hardware, versions

    print("Versions")
    for name, version in versions().items():
        print(f"  {name:<24}{version}")

    facts = hardware()
    print("\nHardware")
    print(f"  {'processor':<24}{facts['processor']}, {facts['cores']} usable cores")
    print(f"  {'memory':<24}{facts['memory_gb']} GB")
    print(f"  {'GPU':<24}{', '.join(facts['gpus']) or 'none; training runs on the processor'}")

    print("\nData (what --data auto takes is the first that is there)")
    print(f"  {'$BREASTUS_DATA':<24}{os.environ.get('BREASTUS_DATA', 'not set')}")
    raw = Path("data", "raw")
    there = raw.is_dir() and any(raw.iterdir())
    print(f"  {'data/raw':<24}{'holds files' if there else 'empty or not there'}")
    print("  then the hub, and with no network, phantoms")

    problems = []
    if gpu_driver and not facts["gpus"]:
        problems.append(
            "There is an NVIDIA driver, but TensorFlow sees no GPU. Install its CUDA build: "
            "pip install 'breastus[gpu]'"
        )
    try:
        cv2()
    except ImportError as error:
        problems.append(str(error))
    for problem in problems:
        print(f"\nProblem: {problem}")
    return int(bool(problems))
