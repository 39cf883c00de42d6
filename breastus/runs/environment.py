"""Versions, hardware and memory of this process, as plain values for JSON."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

from breastus.utils.threads import usable_cores

_PACKAGES = (
    "tensorflow",
    "keras",
    "keras-hub",
    "keras-cv",
    "numpy",
    "pandas",
    "scikit-learn",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "huggingface-hub",
)


def versions() -> dict[str, str]:
    """Return the versions of Python, breastus and the installed packages it depends on."""
    found = {"python": platform.python_version()}
    for name in ("breastus", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, object]:
    """Return processor, usable cores, memory in GB and GPUs, asking TensorFlow for the last."""
    import tensorflow as tf

    gpus = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        gpus.append(details.get("device_name", device.name))
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gb": round(physical_memory() / 1e9, 1),
        "gpus": gpus,
    }


def describe_hardware(facts: dict[str, object]) -> str:
    """Return one line for a table, such as `2 cores, Intel(R) Xeon(R) Processor, no GPU`."""
    gpus = ", ".join(facts["gpus"]) or "no GPU"
    cores = "1 core" if facts["cores"] == 1 else f"{facts['cores']} cores"
    return f"{cores}, {facts['processor']}, {gpus}"


def command_line() -> str:
    """Return the command as typed, with the program's name without its folder."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in MiB; NaN where unknown."""
    try:
        # On Linux, getrusage returns the peak of the parent process if that was larger.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    except (OSError, ValueError, IndexError):  # another system, or a sandbox
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB here


def physical_memory() -> int:
    """Return the machine's memory in bytes; 0 where unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
