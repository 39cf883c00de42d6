"""Hardware profiles: precision, memory and XLA of a training, from the devices of a machine.

config = resolve(config, build=functools.partial(new_model, config))  # before a GPU is used
strategy(config)                                                      # for several devices
"""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.models.backbone import nested_layers
from breastus.training.hardware.batch_parts import MIB, first_parts
from breastus.training.hardware.devices import (
    GIB,
    KNOWN_MEMORY,
    Gpu,
    Machine,
    has_driver,
    this_machine,
)

# Share of a card's memory that TensorFlow takes; CUDA, its libraries and a screen need some too.
_GPU_SHARE, _GPU_RESERVE = 0.9, GIB // 2
_DEPTHWISE = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


@dataclass(frozen=True)
class Profile:
    """Resources of a training."""

    name: str  # "cpu", "rtx2060", "t4", or "auto" for another GPU
    precision: str  # some networks have another one: `choose_precision`
    gpu: bool
    why: str  # reason for the precision
    memory_limit: int | None = None  # bytes of each GPU; None for all of its memory
    # "on" slows the study's CNN down on a processor.
    xla: str = "off"


_CARDS = {"rtx2060": "RTX 2060", "t4": "T4"}  # keys of `KNOWN_MEMORY`
_SMALLEST_GPU = 6 * GIB  # assumed for a GPU of unknown memory
DIFFERENT_GPUS = (
    "The GPUs differ, and each takes the same share of a batch: the smallest decides what fits, "
    "the slowest how long a step takes. training.devices=1 takes the first one alone, "
    "CUDA_VISIBLE_DEVICES chooses another."
)
NO_CUDA = (
    "There is an NVIDIA driver, but TensorFlow finds no GPU: its CUDA libraries are missing, or "
    "the driver is too old for them. Install them with pip install 'breastus[gpu]', or update the "
    "driver."
)


def find_profile(name: str = "auto", machine: Machine | None = None) -> Profile:
    """Return the profile of a name, or with "auto" the one that fits the machine.

    "auto" is `cpu` without a GPU, and `rtx2060` or `t4` for these cards and for other Turing cards
    with their memory. Any other GPU has a profile named "auto" from its memory and compute
    capability: mixed_bfloat16 from 8.0 (Ampere) on, mixed_float16 from 7.0 (Volta) on, float32
    below. The smallest of several GPUs counts. A HardwareError is raised if the machine does not
    have what the profile needs.

    `rtx2060` and `t4` by name limit the memory to that card's, on a larger one as well.
    """
    machine = machine or this_machine()
    if name == "cpu" or (name == "auto" and not machine.gpus):
        return _cpu(machine)
    if not machine.gpus:
        hint = f" {NO_CUDA}" if has_driver() else ""
        raise HardwareError(
            f"training.profile={name} needs a GPU, and TensorFlow finds none.{hint} Use "
            f"training.profile=cpu or auto. Received: {name!r}"
        )
    gpu = min(machine.gpus, key=lambda gpu: (gpu.memory or _SMALLEST_GPU, gpu.capability))
    if name == "auto":
        return _gpu(next((known for known in _CARDS if _is_like(known, gpu)), "auto"), gpu)
    needed = KNOWN_MEMORY[_CARDS[name]]
    if gpu.memory and gpu.memory < 0.9 * needed:
        raise HardwareError(
            f"training.profile={name} needs {needed / GIB:.0f} GB, and the GPU here is {gpu}. "
            f"Use training.profile=auto. Received: {name!r}"
        )
    return _gpu(name, gpu, int(_GPU_SHARE * needed) - _GPU_RESERVE)


def resolve(
    config: Config,
    *,
    build: Callable[..., keras.Model],
    machine: Machine | None = None,
    begun: Config | None = None,
) -> Config:
    """Return the settings with profile, precision, XLA and accumulation as concrete values.

    Settings with a value keep it. `training.accumulation_steps` becomes the number of parts of a
    batch that a training starts with: 1 on a GPU, and on a processor as many as `first_parts` says.
    GPUs are prepared, so none may be in use yet.

    Args:
        config: settings of the experiment.
        build: function of `precision` that builds the network, as `new_model` does.
        machine: the machine; None detects this one.
        begun: settings of the run that is resumed. An automatic precision is taken from them if the
            profile is the same, because another processor may have other instructions.
    """
    settings = config.training
    profile = find_profile(settings.profile, machine)
    prepare_devices(profile)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    if not profile.gpu and settings.profile == "auto" and has_driver() and not _hidden():
        print(f"{NO_CUDA} Training runs on the processor.", file=sys.stderr, flush=True)
    precision = settings.precision
    if precision == "auto" and begun is not None and begun.training.profile == profile.name:
        precision = begun.training.precision
    if precision == "auto":
        precision, model = choose_precision(profile, build)
    else:
        model = build(precision=precision)
    devices = _count(config)
    parts = settings.accumulation_steps
    if parts is None:
        # Several devices cannot accumulate; a GPU reports that its memory is exhausted.
        parts = 1 if profile.gpu or devices > 1 else first_parts(model, config)
    xla = settings.xla
    if xla == "auto":
        # As Keras decides: XLA is not deterministic, and does not join several devices.
        xla = "off" if devices > 1 or settings.deterministic else profile.xla
    return config.replace(
        {
            "training": {
                "profile": profile.name,
                "precision": precision,
                "accumulation_steps": parts,
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
    reason = profile.why
    if asked != "auto":
        reason = "the settings name it"
    elif used != profile.precision:
        reason += ", but the network has depthwise convolutions, which are slow in bfloat16"
    return {"asked": asked, "used": used, "reason": reason}


def prepare_devices(profile: Profile) -> None:
    """Give TensorFlow the devices of a profile, before a GPU is used.

    It allocates GPU memory as it needs it, or up to the profile's limit; with a processor's profile
    it does not see GPUs.

    Raises:
        HardwareError: if a GPU is in use already, as in a notebook, and has no such limit.
    """
    gpus = tf.config.list_physical_devices("GPU")
    try:
        if not profile.gpu and gpus:
            tf.config.set_visible_devices([], "GPU")
        for gpu in gpus if profile.memory_limit else ():
            limit = tf.config.LogicalDeviceConfiguration(profile.memory_limit // MIB)
            tf.config.set_logical_device_configuration(gpu, [limit])
    except RuntimeError as error:
        raise HardwareError(
            f"training.profile={profile.name} limits GPU memory or hides GPUs, which TensorFlow "
            "allows only before it uses a GPU. Restart Python (in a notebook: the kernel), or use "
            f"training.profile=auto. Received: {profile.name!r}"
        ) from error
    if profile.gpu and not profile.memory_limit:
        let_memory_grow()


def let_memory_grow() -> None:
    """Let TensorFlow allocate GPU memory as it needs it; a GPU in use keeps what it has."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


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
    names = {f"{gpu.name}, {gpu.memory / GIB:.0f} GB" for gpu in this_machine().gpus[:count]}
    if len(names) > 1:
        print(f"{DIFFERENT_GPUS} Here: {'; '.join(sorted(names))}.", file=sys.stderr, flush=True)
    return tf.distribute.MirroredStrategy([device.name for device in _devices()[:count]])


def _devices() -> list:
    """Return the GPUs, or processors without a GPU; the first call starts them."""
    try:
        return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    except (tf.errors.OpError, RuntimeError) as error:
        raise HardwareError(
            f"TensorFlow cannot start the GPU: {str(error).strip().splitlines()[0][:150]}. Another "
            "process may fill its memory (nvidia-smi lists them), or the driver may be too old. "
            "End that process, update the driver, or train with training.profile=cpu."
        ) from error


def _count(config: Config) -> int:
    asked, there = config.training.devices, len(_devices())
    if asked is not None and asked > there:
        kind = _devices()[0].device_type
        raise HardwareError(
            f"training.devices must be at most {there}, as TensorFlow finds {there} {kind} here; "
            f"null takes all. Received: {asked}"
        )
    return asked or there


def _hidden() -> bool:
    """Return whether the environment hides all GPUs on purpose."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")


def _is_like(card: str, gpu: Gpu) -> bool:
    """Return whether a GPU is this card, or another Turing card with about its memory."""
    word = _CARDS[card]
    memory = KNOWN_MEMORY[word]
    near = abs(gpu.memory - memory) <= 0.1 * memory
    named = word in gpu.name.replace("-", " ")
    return near and (named or gpu.capability == (7, 5))


def _cpu(machine: Machine) -> Profile:
    if machine.bfloat16:
        why = "the processor has fast instructions for bfloat16"
        return Profile("cpu", "mixed_bfloat16", False, why)
    return Profile("cpu", "float32", False, "the processor has no fast instructions for bfloat16")


def _gpu(name: str, gpu: Gpu, memory_limit: int | None = None) -> Profile:
    if name != "auto":
        precision, why = "mixed_float16", f"a card of profile {name} has no fast bfloat16"
    elif gpu.capability >= (8, 0):
        precision, why = "mixed_bfloat16", "the GPU computes in bfloat16"
    elif gpu.capability >= (7, 0):
        precision, why = "mixed_float16", "the GPU computes in float16, but not in bfloat16"
    else:
        precision, why = "float32", "the GPU does not compute in half precision"
    return Profile(name, precision, True, f"{gpu}: {why}", memory_limit, xla="on")
