"""Profiles, what follows from them, and what does not fit the machine."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from breastus.config.schema import Config
from breastus.errors import HardwareError
from breastus.training.hardware import profiles as hardware
from breastus.training.hardware.devices import GIB, Gpu, Machine, has_bfloat16, this_machine
from breastus.training.hardware.profiles import (
    choose_precision,
    find_profile,
    planner,
    precision_record,
    resolve,
    strategy,
    usable_memory,
)
from breastus.training.network import new_model

CPU = Machine(cores=2, memory=16 * GIB, bfloat16=True)
OLD_CPU = Machine(cores=2, memory=16 * GIB, bfloat16=False)
RTX = Gpu("NVIDIA GeForce RTX 2060", 6 * GIB, (7, 5))
T4 = Gpu("Tesla T4", 15 * GIB, (7, 5))


def with_gpus(*gpus):
    return Machine(cores=2, memory=16 * GIB, bfloat16=False, gpus=gpus)


@pytest.mark.parametrize(
    ("machine", "name", "precision"),
    [
        (CPU, "cpu", "mixed_bfloat16"),
        (OLD_CPU, "cpu", "float32"),
        (with_gpus(RTX), "rtx2060", "mixed_float16"),
        (with_gpus(T4), "t4", "mixed_float16"),
        (with_gpus(T4, RTX), "rtx2060", "mixed_float16"),
        (with_gpus(Gpu("Quadro RTX 5000", 16 * GIB, (7, 5))), "t4", "mixed_float16"),
        (with_gpus(Gpu("NVIDIA GeForce RTX 2060", 12 * GIB, (7, 5))), "auto", "mixed_float16"),
        (with_gpus(Gpu("NVIDIA A100", 40 * GIB, (8, 0))), "auto", "mixed_bfloat16"),
        (with_gpus(Gpu("Tesla V100", 16 * GIB, (7, 0))), "auto", "mixed_float16"),
        (with_gpus(Gpu("GeForce GTX 1080", 8 * GIB, (6, 1))), "auto", "float32"),
        (with_gpus(Gpu("unknown")), "auto", "float32"),
    ],
)
def test_auto_takes_what_is_there(machine, name, precision):
    profile = find_profile("auto", machine)
    assert (profile.name, profile.precision, profile.xla) == (name, precision, "off")
    assert profile.gpu == bool(machine.gpus)
    smallest = min((gpu.memory or 6 * GIB for gpu in machine.gpus), default=machine.memory)
    assert 0.7 * smallest < profile.memory < smallest


@pytest.mark.parametrize(
    ("name", "machine", "message"),
    [
        ("rtx2060", CPU, "rtx2060 needs a GPU, and TensorFlow finds none.*profile=cpu or auto"),
        ("t4", with_gpus(RTX), "needs 15 GB, and the GPU here is .*RTX 2060 .6.0 GB"),
    ],
)
def test_a_profile_that_the_machine_does_not_have_is_refused(name, machine, message):
    with pytest.raises(HardwareError, match=message):
        find_profile(name, machine)


def test_a_smaller_profile_and_the_processor_may_be_chosen_beside_a_gpu():
    assert find_profile("rtx2060", with_gpus(T4)).memory < 6 * GIB
    assert not find_profile("cpu", with_gpus(T4)).gpu


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags : fpu amx_bf16 amx_tile\n", True),
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16 amx_bf16\n", True),
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16\n", False),
        ("vendor_id : AuthenticAMD\nflags : fpu avx512_bf16\n", True),
        ("flags : fpu avx512f avx512bw\nmodel : avx512_bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_off_the_flags(cpuinfo, expected):
    assert has_bfloat16(cpuinfo) is expected


def test_a_system_without_cpuinfo_trains_in_float32(monkeypatch):
    def not_there(*_, **__):
        raise FileNotFoundError

    assert this_machine().bfloat16 == has_bfloat16()
    monkeypatch.setattr(Path, "read_text", not_there)  # as on macOS and Windows
    assert not this_machine().bfloat16


@pytest.mark.parametrize(
    ("asked", "used", "profile", "reason"),
    [
        ("auto", "mixed_bfloat16", CPU, "fast instructions for bfloat16$"),
        ("auto", "float32", CPU, "but the network has depthwise convolutions"),
        ("auto", "float32", OLD_CPU, "no fast instructions for bfloat16$"),
        ("auto", "mixed_float16", with_gpus(T4), "^Tesla T4 .*: the GPU computes in float16"),
        ("float32", "float32", CPU, "the settings name it"),
    ],
)
def test_the_reason_for_a_precision_is_recorded(monkeypatch, asked, used, profile, reason):
    monkeypatch.setattr(hardware, "this_machine", lambda: profile)
    record = precision_record(asked, settings(precision=used))
    assert (record["asked"], record["used"]) == (asked, used)
    assert re.search(reason, record["reason"])


def settings(**training):
    return Config.from_dict({"model": {"image_size": 64}, "training": training})


def resolved(config, machine):
    return resolve(config, build=functools.partial(new_model, config), machine=machine).training


def test_everything_becomes_concrete_and_stays_so():
    config = settings()
    build = functools.partial(new_model, config)
    first = resolve(config, build=build, machine=CPU)
    training = first.training
    assert (training.profile, training.precision, training.xla) == ("cpu", "mixed_bfloat16", "off")
    assert training.accumulation_steps == 1
    assert resolve(config, build=build, machine=CPU) == first
    assert resolve(first, build=build, machine=CPU) == first
    assert Config.from_dict(first.to_dict()) == first


def test_a_run_that_is_taken_up_keeps_its_precision_where_it_was_left_to_the_machine():
    config = settings()
    build = functools.partial(new_model, config)
    begun = resolve(config, build=build, machine=OLD_CPU)
    assert begun.training.precision == "float32"
    # The same machine, measured again.
    assert resolve(config, build=build, machine=CPU, begun=begun) == begun
    asked = settings(precision="mixed_bfloat16")
    again = resolve(asked, build=build, machine=CPU, begun=begun)
    assert again.training.precision == "mixed_bfloat16"
    elsewhere = resolve(config, build=build, machine=with_gpus(T4), begun=begun)
    assert elsewhere.training.precision == "mixed_float16"


@pytest.mark.parametrize(
    ("model", "machine", "precision"),
    [
        ("compact", CPU, "mixed_bfloat16"),
        ("efficientnet_lite0", CPU, "float32"),
        ("efficientnet_mil", CPU, "float32"),
        ("efficientnet_lite0", OLD_CPU, "float32"),
        (
            "efficientnet_lite0",
            with_gpus(Gpu("NVIDIA A100", 40 * GIB, (8, 0))),
            "mixed_bfloat16",
        ),
    ],
)
def test_depthwise_convolutions_stay_in_float32_on_a_processor(model, machine, precision):
    config = settings().replace({"model": {"name": model}})
    profile = find_profile("auto", machine)
    found, network = choose_precision(profile, functools.partial(new_model, config))
    assert found == precision
    assert network.get_layer("features").compute_dtype == precision.removeprefix("mixed_")


@pytest.mark.parametrize(
    ("model", "machine", "precision"),
    [
        ("efficientnet_lite0", CPU, "float32"),
        pytest.param("compact", CPU, "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param("efficientnet_mil", CPU, "float32", marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", OLD_CPU, "float32", marks=pytest.mark.slow),
        pytest.param(
            "efficientnet_lite0",
            with_gpus(Gpu("NVIDIA A100", 40 * GIB, (8, 0))),
            "mixed_bfloat16",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_who_asks_for_a_precision_gets_it(model, machine, precision):
    config = settings().replace({"model": {"name": model}})
    assert resolved(config, machine).precision == precision
    asked = config.replace({"training": {"precision": "mixed_bfloat16"}})
    assert resolved(asked, machine).precision == "mixed_bfloat16"


def test_what_is_given_stays():
    training = resolved(settings(precision="float32", xla="on", accumulation_steps=4), CPU)
    assert (training.precision, training.xla, training.accumulation_steps) == ("float32", "on", 4)


def machine_that_takes(at_once: int) -> Machine:
    """A machine on which exactly `at_once` images fit, in parts of a batch."""
    config = settings(cache_mb=0)
    plans = planner(new_model(config), config, find_profile("cpu", OLD_CPU))
    return Machine(
        2, int(plans.plan(at_once, accumulation_steps=2).total / 0.8) + 2**16, bfloat16=False
    )


@pytest.mark.parametrize(("at_once", "parts"), [(16, 2), (15, 4), (8, 4), (7, 8), (1, 32)])
def test_a_batch_is_cut_into_as_few_parts_as_fit(at_once, parts):
    config = settings(cache_mb=0)
    machine = machine_that_takes(at_once)
    training = resolved(config, machine)
    assert training.accumulation_steps == parts
    profile = find_profile("cpu", machine)
    plans = planner(new_model(config), config, profile)
    memory = usable_memory(profile, config)
    assert plans.plan(32 // parts, accumulation_steps=parts).total <= memory
    assert plans.plan(64 // parts, accumulation_steps=parts // 2).total > memory


def test_parts_are_equal():
    assert (
        resolved(settings(batch_size=30, cache_mb=0), machine_that_takes(14)).accumulation_steps
        == 3
    )


def test_what_does_not_fit_at_all_is_said_with_its_figures():
    small = Machine(2, 512 * 2**20, bfloat16=False)
    message = "cnn at 64 x 64 pixels does not fit: .* needs .* MiB .* are available.*smaller images"
    with pytest.raises(HardwareError, match=message):
        resolved(settings(cache_mb=0), small)


def test_decoded_images_take_from_the_processors_memory_only():
    config = settings(cache_mb=1000)
    cpu, gpu = find_profile("auto", CPU), find_profile("auto", with_gpus(T4))
    assert usable_memory(cpu, config) == cpu.memory - 1000 * 2**20
    assert usable_memory(gpu, config) == gpu.memory


def test_each_gpu_takes_its_share_of_a_batch(monkeypatch):
    monkeypatch.setattr(hardware, "_devices", lambda: ["one", "two"])
    config = Config.from_dict({"model": {"image_size": 512}, "training": {"batch_size": 256}})
    machine = with_gpus(RTX, RTX)
    both = resolved(config, machine).accumulation_steps
    alone = resolved(config.override(["training.devices=1"]), machine).accumulation_steps
    assert alone == 2 * both


def test_more_devices_than_there_are():
    with pytest.raises(HardwareError, match=r"devices must be at most 1, .* Received: 3"):
        strategy(settings(devices=3))
    assert strategy(settings()) is None
    assert strategy(settings(devices=1)) is None


@pytest.mark.slow
def test_two_devices_share_a_batch():
    code = (
        "import tensorflow as tf\n"
        "from breastus.config.schema import Config\n"
        "from breastus.errors import HardwareError\n"
        "from breastus.training.hardware.profiles import strategy\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "assert strategy(Config()).num_replicas_in_sync == 2\n"
        "assert strategy(Config().override(['training.devices=1'])) is None\n"
        "try: strategy(Config().override(['training.batch_size=1']))\n"
        "except HardwareError as error: assert 'multiple of the 2 devices' in str(error)\n"
        "else: raise SystemExit('one image for two devices')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_policy_is_left_as_it_was():
    before = keras.config.dtype_policy()
    resolved(settings(), CPU)
    assert keras.config.dtype_policy() == before
