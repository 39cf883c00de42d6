"""Hardware profiles: what a training may use of a machine, and settings that follow from it.

    config = resolve(config, build=functools.partial(new_model, config))  # before anything on a GPU
    strategy(config)                                                      # of several devices

Not run on a GPU: none was at hand. What the GPU profiles say follows from the cards' data sheets.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.training.hardware.devices import GIB, Gpu, Machine, has_driver, this_machine
from breastus.training.hardware.memory_plan import MIB, MemoryPlan, MemoryPlanner

# Of a processor's memory, for everything else that runs there.
_CPU_SHARE = 0.8
_UNKNOWN_MEMORY = 8 * GIB  # Windows does not tell
# Of a GPU's memory, for the CUDA context, cuDNN's workspaces, a screen and gaps between tensors.
# Not measured.
_GPU_SHARE, _GPU_RESERVE = 0.9, GIB // 2
_SMALLEST_GPU = 6 * GIB  # taken for a GPU of which nothing is known
_DEPTHWISE = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


@dataclass(frozen=True)
class Profile:
    """What a training may use, and how.

    Args:
        name: "cpu", "rtx2060", "t4", or "auto" for a GPU that is neither.
        precision: of the training; of some networks it is another (`in_its_precision`).
        memory: bytes that a plan may use.
        gpu: whether training runs on a GPU, with memory that grows as it is needed.
        parallel_calls: images decoded and augmented at the same time.
        prefetch: batches kept ready ahead of the model.
        why: the precision and the memory, in words.
        xla: "off" everywhere: on a processor it slows the study's CNN down (experiments/BENCH.md);
            on GPUs it was not measured.
    """

    name: str
    precision: str
    memory: int
    gpu: bool
    parallel_calls: int
    why: str
    prefetch: int = 2
    xla: str = "off"


@dataclass(frozen=True)
class _Card:
    word: str  # in the driver's name of it
    memory: int  # as the driver tells it

    def is_like(self, gpu: Gpu) -> bool:
        """Whether a GPU is this card, or another Turing with about its memory."""
        near = abs(gpu.memory - self.memory) <= 0.1 * self.memory
        named = self.word in gpu.name.replace("-", " ")
        return near and (named or gpu.capability == (7, 5))


_CARDS = {"rtx2060": _Card("RTX 2060", 6 * GIB), "t4": _Card("T4", 15 * GIB)}


def find_profile(name: str = "auto", machine: Machine | None = None) -> Profile:
    """Return the profile of a name, or with "auto" the one that this machine's devices ask for.

    "auto" takes `cpu` where there is no GPU; `rtx2060` or `t4` for these cards and for other
    Turings of their memory; for any other GPU a profile of its memory and compute capability that
    keeps the name "auto": mixed_bfloat16 from 8.0 (Ampere) on, mixed_float16 from 7.0 (Volta) on,
    float32 before. Of several GPUs the smallest counts.

    Args:
        name: of `training.profile`.
        machine: None looks at this one.

    Raises:
        HardwareError: when the machine does not have what the profile needs.
    """
    machine = machine or this_machine()
    if name == "cpu" or (name == "auto" and not machine.gpus):
        return _cpu(machine)
    if not machine.gpus:
        hint = " There is an NVIDIA driver: install breastus[gpu]." if has_driver() else ""
        raise HardwareError(
            f"training.profile={name} needs a GPU, and TensorFlow sees none here.{hint} Take "
            f"training.profile=cpu or auto. Received: {name!r}"
        )
    gpu = min(machine.gpus, key=lambda gpu: (gpu.memory or _SMALLEST_GPU, gpu.capability))
    if name == "auto":
        name = next((known for known, card in _CARDS.items() if card.is_like(gpu)), "auto")
        return _gpu(name, gpu, gpu.memory or _SMALLEST_GPU, machine.cores)
    needed = _CARDS[name].memory
    if gpu.memory and gpu.memory < 0.9 * needed:
        raise HardwareError(
            f"training.profile={name} plans with {needed / GIB:.0f} GB, and the GPU here is {gpu}. "
            f"Take training.profile=auto. Received: {name!r}"
        )
    return _gpu(name, gpu, needed, machine.cores)


def resolve(
    config: Config,
    *,
    build: Callable[..., keras.Model],
    machine: Machine | None = None,
    begun: Config | None = None,
) -> Config:
    """Return the settings with profile, precision, XLA and accumulation as concrete values.

    Values that are given stay. `training.accumulation_steps` becomes the smallest number of equal
    parts of a batch for which the memory plan fits. What counts is how much memory there is, not
    how much happens to be free.

    Args:
        config: the settings.
        build: (precision=...) to the network that will be trained, as `new_model` builds it.
        machine: None looks at this one.
        begun: settings of the run that is to be taken up. Its precision holds if it is left to the
            machine and the profile is the same: whether bfloat16 pays is measured, and on a
            machine that is busy with other work may be measured otherwise.

    Raises:
        HardwareError: when the machine does not have what is asked for, or not even one image at a
            time fits.
    """
    let_memory_grow()
    settings = config.training
    profile = find_profile(settings.profile, machine)
    precision = settings.precision
    if precision == "auto" and begun is not None and begun.training.profile == profile.name:
        precision = begun.training.precision
    if precision == "auto":
        precision, model = in_its_precision(profile, build)
    else:
        model = build(precision=precision)
    accumulation = settings.accumulation_steps or _parts(model, config, profile, _count(config))
    xla = profile.xla if settings.xla == "auto" else settings.xla
    return config.replace(
        {
            "training": {
                "profile": profile.name,
                "precision": precision,
                "accumulation_steps": accumulation,
                "xla": xla,
            }
        }
    )


def in_its_precision(
    profile: Profile, build: Callable[..., keras.Model]
) -> tuple[str, keras.Model]:
    """Return the precision in which a network trains best on a profile, and the network in it.

    That is the profile's but for networks with depthwise convolutions on a processor, for which
    TensorFlow has no fast ones in bfloat16: where `compact` trained 1.7 times as fast in bfloat16
    (an AMD EPYC with AVX512-BF16, two cores), `efficientnet_lite0` trained 0.7 times as fast.

    Args:
        profile: as from `find_profile`.
        build: (precision=...) to the network, as for `resolve`.
    """
    model = build(precision=profile.precision)
    if profile.gpu or profile.precision != "mixed_bfloat16":
        return profile.precision, model
    if not any(isinstance(layer, _DEPTHWISE) for layer in model._flatten_layers()):
        return profile.precision, model
    return "float32", build(precision="float32")


def usable_memory(profile: Profile, config: Config) -> int:
    """Return the bytes that a plan may use: on a processor, decoded images lie there as well."""
    return profile.memory - (0 if profile.gpu else config.training.cache_mb * MIB)


def planner(model: keras.Model, config: Config, profile: Profile) -> MemoryPlanner:
    """Return the planner of a network with these settings on this profile."""
    return MemoryPlanner(
        model,
        optimizer=config.training.optimizer,
        ema=config.training.ema > 0,
        gpu=profile.gpu,
    )


def let_memory_grow() -> None:
    """Let TensorFlow take a GPU's memory as it needs it; to be called before anything runs there.

    Threads need no such call: TensorFlow starts one for each core that the process may use.
    """
    for device in tf.config.list_physical_devices("GPU"):
        # In a notebook something may have run there already; it then has the memory as a whole.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(device, True)


def strategy(config: Config):
    """Return a MirroredStrategy over the devices that share a batch, or None for a single one.

    These are the logical GPUs or, where there are none, the logical CPUs; `training.devices` takes
    the first so many of them.

    Raises:
        HardwareError: when there are fewer devices than asked for, or a batch comes in parts or
            cannot be shared evenly.
    """
    count = _count(config)
    if count < 2:
        return None
    settings = config.training
    if (settings.accumulation_steps or 1) > 1:
        # Keras applies summed gradients under a condition, where devices cannot meet.
        raise HardwareError(
            f"Batches come in parts on one device only, and {count} are to share them. Take "
            "training.devices=1, or a batch that fits as a whole (training.batch_size). "
            f"Received: training.accumulation_steps={settings.accumulation_steps}"
        )
    if settings.batch_size % count:
        raise HardwareError(
            f"training.batch_size must be a multiple of the {count} devices that share it; "
            f"training.devices sets how many do. Received: {settings.batch_size}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in _devices()[:count]])


def _devices() -> list:
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _count(config: Config) -> int:
    asked, there = config.training.devices, len(_devices())
    if asked is not None and asked > there:
        kind = _devices()[0].device_type
        raise HardwareError(
            f"training.devices must be at most {there}, as TensorFlow sees {there} {kind} here; "
            f"null takes all. Received: {asked}"
        )
    return asked or there


def _parts(model: keras.Model, config: Config, profile: Profile, devices: int) -> int:
    plans, usable = planner(model, config, profile), usable_memory(profile, config)
    # The devices of a processor share its memory; each GPU has its own.
    parts = plans.smallest_accumulation(
        config.training.batch_size, usable, devices=devices if profile.gpu else 1
    )
    if not parts:
        raise HardwareError(does_not_fit(config, profile, plans.plan(1)))
    return parts


def does_not_fit(config: Config, profile: Profile, plan: MemoryPlan) -> str:
    """Return the message for a network of which not even one image at a time fits."""
    size = config.model.image_size
    return (
        f"{config.model.name} at {size} x {size} pixels does not fit: one image at a time needs "
        f"{plan}, and {usable_memory(profile, config) / MIB:.0f} MiB are available "
        f"({profile.why}). Take smaller images (model.image_size), another network, or a smaller "
        f"training.cache_mb. Received: model.image_size={size}"
    )


def _cpu(machine: Machine) -> Profile:
    if machine.bfloat16:
        precision, why = "mixed_bfloat16", "the processor gains from bfloat16"
    else:
        precision, why = "float32", "the processor gains nothing from bfloat16"
    memory = machine.memory or _UNKNOWN_MEMORY
    known = "" if machine.memory else " taken, as nobody tells"
    return Profile(
        name="cpu",
        precision=precision,
        memory=int(_CPU_SHARE * memory),
        gpu=False,
        parallel_calls=machine.cores,
        why=f"{why}; {_CPU_SHARE:.0%} of {memory / GIB:.1f} GB of memory{known}",
    )


def _gpu(name: str, gpu: Gpu, memory: int, cores: int) -> Profile:
    if name != "auto" or (7, 0) <= gpu.capability < (8, 0):
        precision, why = "mixed_float16", "half-precision units, but none for bfloat16"
    elif gpu.capability >= (8, 0):
        precision, why = "mixed_bfloat16", "bfloat16 units"
    else:
        precision, why = "float32", "no half-precision units"
    known = "" if gpu.memory else ", as its memory is not known"
    return Profile(
        name=name,
        precision=precision,
        memory=int(_GPU_SHARE * memory) - _GPU_RESERVE,
        gpu=True,
        parallel_calls=cores,
        why=f"{gpu}: {why}; {memory / GIB:.0f} GB less a reserve{known}",
    )
