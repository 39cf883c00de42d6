"""The hardware that a training depends on: cores, memory, bfloat16, GPUs."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from breastus.runs.environment import physical_memory
from breastus.utils.threads import usable_cores

GIB = 2**30
# Memory that the driver reports, by a part of the name.
KNOWN_MEMORY = {"RTX 2060": 6 * GIB, "T4": 15 * GIB}


@dataclass(frozen=True)
class Gpu:
    """A GPU that TensorFlow sees."""

    name: str  # that the driver reports
    memory: int = 0  # bytes; 0 if unknown
    # CUDA compute capability, such as (7, 5) for Turing; (0, 0) if unknown.
    capability: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        memory = f"{self.memory / GIB:.1f} GB" if self.memory else "memory unknown"
        capability = ".".join(map(str, self.capability)) if any(self.capability) else "unknown"
        return f"{self.name} ({memory}, compute capability {capability})"


@dataclass(frozen=True)
class Machine:
    """A machine."""

    cores: int  # that this process may use
    memory: int  # bytes; 0 if unknown
    bfloat16: bool  # whether the processor is faster in bfloat16 than in float32
    gpus: tuple[Gpu, ...] = ()  # that TensorFlow sees


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    import tensorflow as tf

    devices = tf.config.get_visible_devices("GPU")
    told = _nvidia_smi() if devices else {}
    gpus = []
    for device in devices:
        details = tf.config.experimental.get_device_details(device)
        name = details.get("device_name", device.name)
        known = next((size for word, size in KNOWN_MEMORY.items() if word in name), 0)
        gpus.append(Gpu(name, told.get(name, known), details.get("compute_capability", (0, 0))))
    return Machine(usable_cores(), _memory(), has_bfloat16(), tuple(gpus))


def has_bfloat16(cpuinfo: str | None = None) -> bool:
    """Return whether the processor computes faster in bfloat16 than in float32.

    The instruction set decides and not a measurement, so that a seed gives the same weights on a
    busy machine. Processors with AMX-BF16 are faster, and processors with AVX512-BF16 unless Intel
    made them: there, without AMX, TensorFlow multiplied matrices 0.6 times as fast as in float32.
    Elsewhere bfloat16 is emulated and slower.

    Args:
        cpuinfo: content of `/proc/cpuinfo`; None reads the file. Without the file, as on macOS and
            Windows, False.
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    values = {"flags": "", "vendor_id": ""}  # of the first processor
    for line in reversed(cpuinfo.splitlines()):
        name, _, value = line.partition(":")
        if name.strip() in values:
            values[name.strip()] = value
    flags = set(values["flags"].split())
    slow = values["vendor_id"].strip() == "GenuineIntel"
    return "amx_bf16" in flags or ("avx512_bf16" in flags and not slow)


def has_driver() -> bool:
    """Return whether an NVIDIA driver is installed, even if TensorFlow finds no GPU."""
    return shutil.which("nvidia-smi") is not None


def free_memory() -> int:
    """Return the bytes of memory that processes may still take here; 0 if unknown.

    A container may take less than the machine has free.
    """
    free = _lines("/proc/meminfo", ":").get("MemAvailable", 0) * 2**10  # Linux only
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if free and limit:
        files = _lines("/sys/fs/cgroup/memory.stat", " ").get("inactive_file", 0)
        free = min(free, max(0, limit - used + files))  # cached files give way
    return free


def _memory() -> int:
    """Return the memory of the machine, or the limit of a container, in bytes."""
    total = physical_memory()
    limits = ("memory.max", "memory/memory.limit_in_bytes")
    return min(total, *(_number(f"/sys/fs/cgroup/{name}") or total for name in limits))


def _number(path: str) -> int:
    """Return the number in a file; 0 if there is none, such as "max"."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _lines(path: str, separator: str) -> dict[str, int]:
    """Return names and numbers of a file's lines, such as `MemAvailable: 1024 kB`."""
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(separator) for line in lines)
    return {name: int(rest.split()[0]) for name, _, rest in pairs if rest.strip()[:1].isdigit()}


def _nvidia_smi() -> dict[str, int]:
    """Return memory in bytes by GPU name; the smaller one if two GPUs have the same name."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(
            query, capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, int] = {}
    for line in output.splitlines():
        name, _, megabytes = line.rpartition(",")
        if megabytes.strip().isdigit():
            size = int(megabytes) * 2**20
            found[name.strip()] = min(size, found.get(name.strip(), size))
    return found
