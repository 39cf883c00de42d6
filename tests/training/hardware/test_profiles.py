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
from breastus.training.hardware import batch_parts
from breastus.training.hardware import profiles as hardware
from breastus.training.hardware.batch_parts import first_parts, more_parts
from breastus.training.hardware.devices import GIB, Gpu, Machine, has_bfloat16, this_machine
from breastus.training.hardware.graph_cost import activation_bytes
from breastus.training.hardware.profiles import (
    choose_precision,
    find_profile,
    precision_record,
    resolve,
    strategy,
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
    gpu = bool(machine.gpus)
    assert (profile.name, profile.precision, profile.gpu) == (name, precision, gpu)
    assert profile.xla == ("on" if gpu else "off")
    assert profile.memory_limit is None


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
    small = find_profile("rtx2060", with_gpus(Gpu("NVIDIA A100", 40 * GIB, (8, 0))))
    assert 4 * GIB < small.memory_limit < 6 * GIB
    assert small.precision == "mixed_float16"  # of the card that it stands for
    assert not find_profile("cpu", with_gpus(T4)).gpu


class FakeGpus:
    """TensorFlow's settings of two GPUs, before or after their first use."""

    def __init__(self, monkeypatch, *, in_use=False):
        self.calls, self.in_use = [], in_use
        config = hardware.tf.config
        monkeypatch.setattr(config, "list_physical_devices", lambda kind=None: ["GPU 0", "GPU 1"])
        monkeypatch.setattr(
            config, "set_logical_device_configuration",
            lambda gpu, devices: self.call(gpu, devices[0].memory_limit),
        )  # fmt: skip
        monkeypatch.setattr(config, "set_visible_devices", lambda *args: self.call(*args))
        monkeypatch.setattr(
            config.experimental, "set_memory_growth", lambda gpu, grow: self.call(gpu, grow)
        )

    def call(self, *args):
        if self.in_use:
            raise RuntimeError("Virtual devices cannot be modified after being initialized")
        self.calls.append(args)


def test_a_named_profile_limits_the_memory_of_each_gpu(monkeypatch):
    gpus = FakeGpus(monkeypatch)
    profile = find_profile("t4", with_gpus(T4))
    hardware.prepare_devices(profile)
    assert gpus.calls == [(f"GPU {n}", profile.memory_limit // 2**20) for n in (0, 1)]


def test_without_a_limit_memory_grows_and_a_processor_sees_no_gpu(monkeypatch):
    gpus = FakeGpus(monkeypatch)
    hardware.prepare_devices(find_profile("auto", with_gpus(T4)))
    hardware.prepare_devices(find_profile("cpu", with_gpus(T4)))
    assert gpus.calls == [("GPU 0", True), ("GPU 1", True), ([], "GPU")]


def test_a_gpu_in_use_cannot_be_limited_any_more(monkeypatch):
    FakeGpus(monkeypatch, in_use=True)
    hardware.prepare_devices(find_profile("auto", with_gpus(T4)))
    for name in ("t4", "cpu"):
        with pytest.raises(HardwareError, match=f"training.profile={name} .*Restart Python"):
            hardware.prepare_devices(find_profile(name, with_gpus(T4)))


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
        (
            "auto",
            "mixed_float16",
            with_gpus(T4),
            "^Tesla T4 .*: a card of profile t4 has no fast bfloat16",
        ),
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


def images_that_fit(monkeypatch, count, **training):
    """Let as much memory be free as `count` images of 64 pixels need by the estimate."""
    config = settings(cache_mb=0, **training)
    model = new_model(config)
    needed = 12 * model.count_params() + (count + 0.5) * activation_bytes(model)
    monkeypatch.setattr(batch_parts, "free_memory", lambda: int(needed / 0.8))
    return model, config


@pytest.mark.parametrize(("fit", "parts"), [(99, 1), (32, 1), (31, 2), (16, 2), (8, 4), (1, 32)])
def test_a_processor_starts_with_as_few_parts_as_fit(monkeypatch, capsys, fit, parts):
    assert first_parts(*images_that_fit(monkeypatch, fit)) == parts
    assert (f"cut into {parts} parts" in capsys.readouterr().err) == (parts > 1)


def test_one_image_that_does_not_fit_is_said_with_its_figures(monkeypatch):
    model, config = images_that_fit(monkeypatch, 0)
    message = "cnn at 64 x 64 pixels does not fit .* MiB of free memory: one image needs .*MiB"
    with pytest.raises(HardwareError, match=message):
        first_parts(model, config)
    monkeypatch.setattr(batch_parts, "free_memory", lambda: 0)  # unknown
    assert first_parts(model, config) == 1


def test_parts_are_halved_down_to_single_images():
    def all_of(batch):
        parts = [1]
        while more := more_parts(parts[-1], batch):
            parts.append(more)
        return parts

    assert all_of(32) == [1, 2, 4, 8, 16, 32]
    assert all_of(30) == [1, 2, 5, 10, 30]
    assert all_of(1) == [1]


def test_a_gpu_starts_with_whole_batches_and_xla(monkeypatch):
    images_that_fit(monkeypatch, 1)  # of the processor's memory
    gpu = with_gpus(Gpu("NVIDIA A100", 40 * GIB, (8, 0)))
    assert (resolved(settings(), gpu).accumulation_steps, resolved(settings(), gpu).xla) == (
        1,
        "on",
    )
    assert resolved(settings(xla="off"), gpu).xla == "off"
    monkeypatch.setattr(hardware, "_devices", lambda: ["one", "two"])
    assert resolved(settings(), gpu).xla == "off"
    assert resolved(settings(devices=1), gpu).xla == "on"


def test_a_driver_without_cuda_libraries_is_said(monkeypatch, capsys):
    monkeypatch.setattr(hardware, "has_driver", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert resolved(settings(), CPU).profile == "cpu"
    assert "TensorFlow finds no GPU" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    resolved(settings(), CPU)
    assert not capsys.readouterr().err
    with pytest.raises(HardwareError, match=r"t4 needs a GPU.*breastus\[gpu\]"):
        find_profile("t4", CPU)


def test_a_gpu_that_another_process_fills_is_said(monkeypatch):
    def fails(kind):
        raise hardware.tf.errors.InternalError(None, None, "CUDA initialization: out of memory")

    monkeypatch.setattr(hardware.tf.config, "list_logical_devices", fails)
    with pytest.raises(HardwareError, match=r"out of memory.*nvidia-smi.*training\.profile=cpu"):
        resolved(settings(), with_gpus(T4))


def test_gpus_that_differ_are_named(monkeypatch, capsys):
    devices = hardware.tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(hardware, "_devices", lambda: devices * 2)
    monkeypatch.setattr(hardware, "this_machine", lambda: with_gpus(T4, RTX))
    monkeypatch.setattr(hardware.tf.distribute, "MirroredStrategy", lambda names: names)
    assert len(strategy(settings())) == 2
    printed = capsys.readouterr().err
    assert "RTX 2060, 6 GB; Tesla T4, 15 GB" in printed
    assert "training.devices=1" in printed


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
