"""Hardware profiles: memory, precision and XLA of a training, from the devices of a machine.

    config = resolve(config, build=functools.partial(new_model, config))  # before a GPU is used
    strategy(config)                                                      # for several devices

The GPU profiles follow the data sheets of the cards and were not measured on a GPU.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.models.backbone import nested_layers
from breastus.training.hardware.devices import (
    GIB,
    KNOWN_MEMORY,
    Gpu,
    Machine,
    has_driver,
    this_machine,
)
from breastus.training.hardware.memory_plan import MIB, MemoryPlanner

_CPU_SHARE = 0.8  # share of the memory; other processes need some too
_UNKNOWN_MEMORY = 8 * GIB  # Windows does not report it
# Without the CUDA context, cuDNN's workspaces, a screen and gaps between tensors. Not measured.
_GPU_SHARE, _GPU_RESERVE = 0.9, GIB // 2
_SMALLEST_GPU = 6 * GIB  # assumed for a GPU of unknown memory
_DEPTHWISE = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


@dataclass(frozen=True)
class Profile:
    """Resources of a training."""

    name: str  # "cpu", "rtx2060", "t4", or "auto" for another GPU
    precision: str  # some networks have another one: `choose_precision`
    memory: int  # bytes that a plan may use
    gpu: bool
    precision_reason: str
    memory_reason: str
    # "on" slows the study's CNN down on a processor, and was not measured on GPUs.
    xla: str = "off"

    @property
    def why(self) -> str:
        """Reasons for precision and memory, in a sentence."""
        return f"{self.precision_reason}; {self.memory_reason}"


_CARDS = {"rtx2060": "RTX 2060", "t4": "T4"}  # keys of `KNOWN_MEMORY`


def find_profile(name: str = "auto", machine: Machine | None = None) -> Profile:
    """Return the profile of a name, or with "auto" the one that fits the machine.

    "auto" is `cpu` without a GPU, and `rtx2060` or `t4` for these cards and for other Turing cards
    with their memory. Any other GPU has a profile named "auto" from its memory and compute
    capability: mixed_bfloat16 from 8.0 (Ampere) on, mixed_float16 from 7.0 (Volta) on, float32
    below. The smallest of several GPUs counts. A HardwareError is raised if the machine does not
    have what the profile needs.
    """
    machine = machine or this_machine()
    if name == "cpu" or (name == "auto" and not machine.gpus):
        return _cpu(machine)
    if not machine.gpus:
        hint = " There is an NVIDIA driver; install breastus[gpu]." if has_driver() else ""
        raise HardwareError(
            f"training.profile={name} needs a GPU, and TensorFlow finds none.{hint} Use "
            f"training.profile=cpu or auto. Received: {name!r}"
        )
    gpu = min(machine.gpus, key=lambda gpu: (gpu.memory or _SMALLEST_GPU, gpu.capability))
    if name == "auto":
        name = next((known for known in _CARDS if _is_like(known, gpu)), "auto")
        return _gpu(name, gpu, gpu.memory or _SMALLEST_GPU)
    needed = KNOWN_MEMORY[_CARDS[name]]
    if gpu.memory and gpu.memory < 0.9 * needed:
        raise HardwareError(
            f"training.profile={name} needs {needed / GIB:.0f} GB, and the GPU here is {gpu}. "
            f"Use training.profile=auto. Received: {name!r}"
        )
    return _gpu(name, gpu, needed)


def resolve(
    config: Config,
    *,
    build: Callable[..., keras.Model],
    machine: Machine | None = None,
    begun: Config | None = None,
) -> Config:
    """Return the settings with profile, precision, XLA and accumulation as concrete values.

    Settings with a value keep it. `training.accumulation_steps` becomes the smallest number of
    equal parts of a batch that fit into memory by plan. The total memory counts, not the free one,
    so that a resumed run finds the same number.

    Args:
        config: settings of the experiment.
        build: function of `precision` that builds the network, as `new_model` does.
        machine: the machine; None detects this one.
        begun: settings of the run that is resumed. An automatic precision is taken from them if the
            profile is the same, because another processor may have other instructions.
    """
    let_memory_grow()
    settings = config.training
    profile = find_profile(settings.profile, machine)
    precision = settings.precision
    if precision == "auto" and begun is not None and begun.training.profile == profile.name:
        precision = begun.training.precision
    if precision == "auto":
        precision, model = choose_precision(profile, build)
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


def choose_precision(
    profile: Profile, build: Callable[..., keras.Model]
) -> tuple[str, keras.Model]:
    """Return the fastest precision of a network on a profile, and the network in it.

    It is the profile's, except for networks with depthwise convolutions on a processor, which
    TensorFlow computes slowly in bfloat16: on an AMD EPYC with AVX512-BF16 (two cores), `compact`
    trained 1.7 times as fast in bfloat16, but `efficientnet_lite0` 0.7 times as fast.
    """
    model = build(precision=profile.precision)
    if profile.gpu or profile.precision != "mixed_bfloat16":
        return profile.precision, model
    if not any(isinstance(layer, _DEPTHWISE) for layer in nested_layers(model)):
        return profile.precision, model
    return "float32", build(precision="float32")


def precision_record(asked: str, config: Config) -> dict[str, str]:
    """Return the precision of a training and why it has it, for environment.json.

    `asked` is `training.precision` before `resolve` made `config` of it.
    """
    used, profile = config.training.precision, find_profile(config.training.profile)
    reason = profile.precision_reason
    if asked != "auto":
        reason = "the settings name it"
    elif used != profile.precision:
        reason += ", but the network has depthwise convolutions, which are slow in bfloat16"
    return {"asked": asked, "used": used, "reason": reason}


def usable_memory(profile: Profile, config: Config) -> int:
    """Return the bytes that a plan may use; a processor's memory also holds decoded images."""
    return profile.memory - (0 if profile.gpu else config.training.cache_mb * MIB)


def planner(model: keras.Model, config: Config, profile: Profile) -> MemoryPlanner:
    """Return the memory planner of a network with these settings on this profile."""
    return MemoryPlanner(
        model,
        optimizer=config.training.optimizer,
        ema=config.training.ema > 0,
        gpu=profile.gpu,
    )


def let_memory_grow() -> None:
    """Let TensorFlow allocate GPU memory as it needs it; to be called before a GPU is used."""
    for device in tf.config.list_physical_devices("GPU"):
        # In a notebook the GPU may be in use already, with all of its memory allocated.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(device, True)


def strategy(config: Config):
    """Return a MirroredStrategy over the devices that share a batch, or None for one device.

    The devices are the first `training.devices` logical GPUs, or logical CPUs without a GPU.
    """
    count = _count(config)
    if count < 2:
        return None
    settings = config.training
    if (settings.accumulation_steps or 1) > 1:
        # Keras applies summed gradients under a condition, where devices cannot meet.
        raise HardwareError(
            f"Gradient accumulation works on one device only, and {count} share a batch. Use "
            "training.devices=1, or a smaller training.batch_size. "
            f"Received: training.accumulation_steps={settings.accumulation_steps}"
        )
    if settings.batch_size % count:
        raise HardwareError(
            f"training.batch_size must be a multiple of the {count} devices that share it; "
            f"training.devices sets their number. Received: {settings.batch_size}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in _devices()[:count]])


def _devices() -> list:
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _count(config: Config) -> int:
    asked, there = config.training.devices, len(_devices())
    if asked is not None and asked > there:
        kind = _devices()[0].device_type
        raise HardwareError(
            f"training.devices must be at most {there}, as TensorFlow finds {there} {kind} here; "
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
        size = config.model.image_size
        raise HardwareError(
            f"{config.model.name} at {size} x {size} pixels does not fit: one image needs "
            f"{plans.plan(1)}, and {usable / MIB:.0f} MiB are available "
            f"({profile.why}). Use smaller images (model.image_size), another network, or a "
            f"smaller training.cache_mb. Received: model.image_size={size}"
        )
    return parts


def _is_like(card: str, gpu: Gpu) -> bool:
    """Return whether a GPU is this card, or another Turing card with about its memory."""
    word = _CARDS[card]
    memory = KNOWN_MEMORY[word]
    near = abs(gpu.memory - memory) <= 0.1 * memory
    named = word in gpu.name.replace("-", " ")
    return near and (named or gpu.capability == (7, 5))


def _cpu(machine: Machine) -> Profile:
    if machine.bfloat16:
        precision, why = "mixed_bfloat16", "the processor has fast instructions for bfloat16"
    else:
        precision, why = "float32", "the processor has no fast instructions for bfloat16"
    memory = machine.memory or _UNKNOWN_MEMORY
    known = "" if machine.memory else " (assumed, because it is unknown)"
    return Profile(
        name="cpu",
        precision=precision,
        memory=int(_CPU_SHARE * memory),
        gpu=False,
        precision_reason=why,
        memory_reason=f"{_CPU_SHARE:.0%} of {memory / GIB:.1f} GB of memory{known}",
    )


def _gpu(name: str, gpu: Gpu, memory: int) -> Profile:
    if name != "auto" or (7, 0) <= gpu.capability < (8, 0):
        precision, why = "mixed_float16", "the GPU computes in float16, but not in bfloat16"
    elif gpu.capability >= (8, 0):
        precision, why = "mixed_bfloat16", "the GPU computes in bfloat16"
    else:
        precision, why = "float32", "the GPU does not compute in half precision"
    known = "" if gpu.memory else " (assumed, because it is unknown)"
    return Profile(
        name=name,
        precision=precision,
        memory=int(_GPU_SHARE * memory) - _GPU_RESERVE,
        gpu=True,
        precision_reason=f"{gpu}: {why}",
        memory_reason=f"{memory / GIB:.0f} GB less a reserve{known}",
    )
