"""What this machine can train: versions, hardware, data and profile, memory plans, advice."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from breastus.config.presets import default_config
from breastus.errors import HardwareError, ModelError
from breastus.runs.environment import hardware, versions
from breastus.training.hardware.devices import Machine, has_driver, this_machine
from breastus.training.hardware.profiles import (
    Profile,
    choose_precision,
    find_profile,
    let_memory_grow,
    planner,
    usable_memory,
)
from breastus.training.network import new_model
from breastus.utils.opencv import cv2


class Examination:
    """Facts about this machine.

    Attributes:
        found: `versions`, `hardware`, `data` and `profile`, each name to text.
        problems: sentences about what is broken.
    """

    def __init__(self, profile: str = "auto"):
        let_memory_grow()
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
            self.found["profile"] = {**vars(self.profile), "why": self.profile.why}

    def memory_plans(
        self, names: list[str], image_size: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Plan the training memory of networks, one after the other.

        Args:
            names: names of `breastus.list_models()`.
            image_size: side of the input in pixels; None takes the default of each network.

        Yields:
            `model`, `image_size`, `precision`, `largest_batch`, `batch` (the default), `parts` that
            a batch is cut into (0 if not even one image fits) and `planned_mib`; or `error`.
            Nothing if this machine has no profile.
        """
        for name in names if self.profile else ():
            yield _memory_plan(name, image_size, self.profile)
            keras.backend.clear_session()

    def advice(self, plans: list[dict[str, Any]]) -> list[str]:
        """Return sentences about what to change, given the rows of `memory_plans`."""
        notes = []
        if not self.machine.gpus and not self.machine.bfloat16:
            notes.append(
                "There is no GPU, and the processor has no fast instructions for bfloat16: "
                "training runs in float32. Prefer small networks (efficientnet_lite0, compact, "
                "cnn)."
            )
        none = [row["model"] for row in plans if row.get("parts") == 0]
        cut = [row["model"] for row in plans if row.get("parts", 0) > 1]
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


def _memory_plan(name: str, image_size: int | None, profile: Profile) -> dict[str, Any]:
    settings: dict[str, Any] = {"weights": None}  # any weights take the same memory
    if image_size:
        settings["image_size"] = image_size
    config = default_config(name).replace({"model": settings})
    memory, batch = usable_memory(profile, config), config.training.batch_size
    row = {"model": name, "image_size": config.model.image_size}
    try:
        precision, model = choose_precision(profile, functools.partial(new_model, config))
    except ModelError as error:
        return {**row, "error": str(error)}
    plans = planner(model, config, profile)
    parts = plans.smallest_accumulation(batch, memory)
    plan = plans.plan(-(-batch // (parts or 1)), accumulation_steps=parts or 1)
    return {
        **row,
        "precision": precision,
        "largest_batch": plans.largest_batch(memory),
        "batch": batch,
        "parts": parts,
        "planned_mib": round(plan.total / 2**20),
    }


def _hardware(machine: Machine) -> dict[str, str]:
    fast = "fast" if machine.bfloat16 else "no fast"
    return {
        "processor": f"{hardware()['processor']}, {machine.cores} usable cores",
        "bfloat16": f"{fast} instructions here",
        "memory": f"{machine.memory / 2**30:.1f} GB, {_free()}",
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
        problems.append(
            "There is an NVIDIA driver, but TensorFlow sees no GPU. Install its CUDA build: "
            "pip install 'breastus[gpu]'"
        )
    try:
        cv2.getVersionString()
    except ImportError as error:
        problems.append(str(error))
    return problems


def _free() -> str:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # Linux only
        return "free unknown"
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return f"{kib / 2**20:.1f} GB free now"
