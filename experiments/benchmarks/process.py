"""Measure in a process of its own, so that its peak memory and its threads are its own."""

import json
import subprocess
import sys
from typing import Any

from breastus.errors import RunError
from experiments.pages import ROOT


def measure_apart(module: str, *arguments: Any) -> dict[str, Any]:
    """Run `python -m module arguments` and return the JSON on the last line of its output.

    Raises:
        RunError: when the process fails.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise RunError(f"{' '.join(command[1:])} failed: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])
