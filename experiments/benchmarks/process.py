"""Measure in a process of its own, so that its peak memory and its threads are its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from breastus.errors import RunError
from experiments.pages import ROOT


def measure_apart(module: str, *arguments: Any) -> dict[str, Any]:
    """Run `python -m module arguments` and return the JSON on the last line of its output.

    Raises:
        RunError: when the process fails.
    """
    return last_json([sys.executable, "-m", module, *map(str, arguments)])


def last_json(
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> dict[str, Any]:
    """Run a command in the repository's root and return the JSON on the last line of its output.

    Args:
        command: program and arguments.
        environment: further environment variables.
        limit: time limit in seconds.

    Raises:
        RunError: when the command fails or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"not done after {limit:.0f} s") from error
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        message = lines[-1][:500] if lines else f"exit status {done.returncode}"
        raise RunError(message) from error
