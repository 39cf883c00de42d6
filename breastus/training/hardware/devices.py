"""The hardware that a memory plan and a precision depend on: cores, memory, bfloat16, GPUs."""

import functools
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from breastus.runs.environment import physical_memory, usable_cores

GIB = 2**30
# By a part of the name, for GPUs whose memory nvidia-smi does not report.
_KNOWN_MEMORY = {"RTX 2060": 6 * GIB, "T4": 15 * GIB}
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Far from the gain of any processor, so that runs with the same settings decide the same.
_MIN_GAIN = 1.3
_SIDE, _REPEATS = 1024, 20  # of the matrix products that are timed


@dataclass(frozen=True)
class Gpu:
    """A GPU that TensorFlow sees.

    Args:
        name: name that the driver reports.
        memory: memory in bytes; 0 if unknown.
        capability: CUDA compute capability, such as (7, 5) for Turing; (0, 0) if unknown.
    """

    name: str
    memory: int = 0
    capability: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        memory = f"{self.memory / GIB:.1f} GB" if self.memory else "memory unknown"
        capability = ".".join(map(str, self.capability)) if any(self.capability) else "unknown"
        return f"{self.name} ({memory}, compute capability {capability})"


@dataclass(frozen=True)
class Machine:
    """A machine.

    Args:
        cores: number of cores that this process may use.
        memory: memory in bytes; 0 if unknown.
        bfloat16: whether the processor is clearly faster in bfloat16 than in float32.
        gpus: GPUs that TensorFlow sees.
    """

    cores: int
    memory: int
    bfloat16: bool
    gpus: tuple[Gpu, ...] = ()


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    told = _nvidia_smi() if devices else {}
    gpus = []
    for device in devices:
        details = tf.config.experimental.get_device_details(device)
        name = details.get("device_name", device.name)
        known = next((size for word, size in _KNOWN_MEMORY.items() if word in name), 0)
        gpus.append(Gpu(name, told.get(name, known), details.get("compute_capability", (0, 0))))
    bfloat16 = has_bfloat16() and bfloat16_gain() >= _MIN_GAIN
    return Machine(usable_cores(), _memory(), bfloat16, tuple(gpus))


@functools.cache
def bfloat16_gain() -> float:
    """Return how many times faster the processor multiplies matrices in bfloat16 than in float32.

    It is measured, because instructions for bfloat16 do not make it fast: on an Intel processor
    with AVX512-BF16, in a virtual machine without AMX, the gain was 0.6.
    """
    import tensorflow as tf

    random = tf.random.stateless_normal([_SIDE, _SIDE], [0, 0])
    squares = {dtype: tf.cast(random, dtype) for dtype in (tf.float32, tf.bfloat16)}
    times = {dtype: [] for dtype in squares}
    # Alternating, so that other work on the machine disturbs both equally.
    for _ in range(_REPEATS):
        for dtype, square in squares.items():
            start = time.perf_counter()
            tf.matmul(square, square)[0, 0].numpy()
            times[dtype].append(time.perf_counter() - start)
    seconds = {dtype: min(tries) for dtype, tries in times.items()}  # the first runs are warm-up
    return seconds[tf.float32] / seconds[tf.bfloat16]


def has_bfloat16(cpuinfo: str | None = None) -> bool:
    """Return whether the processor has instructions for bfloat16 (AVX512-BF16 or AMX-BF16).

    Elsewhere bfloat16 is emulated and slower than float32.

    Args:
        cpuinfo: content of `/proc/cpuinfo`; None reads the file. Without the file, False.
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            return False
    flags = (line.split(":", 1)[1] for line in cpuinfo.splitlines() if line.startswith("flags"))
    return bool(_BFLOAT16_FLAGS & set(next(flags, "").split()))


def has_driver() -> bool:
    """Return whether an NVIDIA driver is installed, even if TensorFlow finds no GPU."""
    return shutil.which("nvidia-smi") is not None


def _memory() -> int:
    """Return the memory of the machine, or the limit of a container.

    The free memory does not count, because a resumed run must find the same number.
    """
    total = physical_memory()
    for path in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return total


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
