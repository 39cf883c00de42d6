"""What this machine can train: versions, hardware, data and profile, problems, advice."""

import os
from pathlib import Path
from typing import Any

from breastus.errors import HardwareError
from breastus.runs.environment import hardware, versions
from breastus.training.hardware.devices import (
    GIB,
    Machine,
    free_memory,
    has_driver,
    this_machine,
)
from breastus.training.hardware.profiles import (
    DIFFERENT_GPUS,
    NO_CUDA,
    Profile,
    find_profile,
)
from breastus.utils.opencv import cv2


class Examination:
    """Facts about this machine.

    Attributes:
        found: `versions`, `hardware`, `data` and `profile`, each name to text.
        problems: sentences about what is broken.
    """

    def __init__(self, profile: str = "auto"):
        self.machine: Machine = this_machine()
        self.problems = _problems(self.machine)
        self.profile: Profile | None = None
        try:
            self.profile = find_profile(profile, self.machine)
        except HardwareError as error:
            self.problems.append(str(error))
        self.found: dict[str, dict[str, Any]] = {
            "versions": versions(),
            "hardware": _hardware(self.machine),
            "data": _data(),
            "profile": {},
        }
        if self.profile:
            self.found["profile"] = vars(self.profile)

    def advice(self) -> list[str]:
        """Return sentences about what to change."""
        notes = []
        if not self.machine.gpus and not self.machine.bfloat16:
            notes.append(
                "There is no GPU, and the processor has no fast instructions for bfloat16: "
                "training runs in float32. Prefer small networks (efficientnet_lite0, compact, "
                "cnn)."
            )
        if len({(gpu.name, gpu.memory) for gpu in self.machine.gpus}) > 1:
            notes.append(DIFFERENT_GPUS)
        return notes


def _hardware(machine: Machine) -> dict[str, str]:
    fast = "fast" if machine.bfloat16 else "no fast"
    free = free_memory()
    return {
        "processor": f"{hardware()['processor']}, {machine.cores} usable cores",
        "bfloat16": f"{fast} instructions here",
        "memory": f"{machine.memory / GIB:.1f} GB, "
        + (f"{free / GIB:.1f} GB free now" if free else "free unknown"),
        "GPU": ", ".join(map(str, machine.gpus)) or "none; training runs on the CPU",
    }


def _data() -> dict[str, str]:
    raw = Path("data", "raw")
    there = raw.is_dir() and any(raw.iterdir())
    return {
        "$BREASTUS_DATA": os.environ.get("BREASTUS_DATA", "not set"),
        "data/raw": "holds files" if there else "empty or missing",
    }


def _problems(machine: Machine) -> list[str]:
    problems = []
    if has_driver() and not machine.gpus:
        problems.append(NO_CUDA)
    try:
        cv2.getVersionString()
    except ImportError as error:
        problems.append(str(error))
    return problems
