"""Memory by shape: what LLaVA-Med needs, and on which machines it is refused."""

from pathlib import Path

import pytest

from breastus.errors import HardwareError
from breastus.training.hardware.devices import GIB, Gpu, Machine
from breastus.vlm.llava_config import _ORIGINAL, LanguageConfig, LlavaConfig, TowerConfig
from breastus.vlm.memory import check_memory, needed_memory
from breastus.vlm.models import KNOWN

# By its config.json, and for the tower by openai/clip-vit-large-patch14-336's.
LLAVA_MED = LlavaConfig(
    TowerConfig(width=1024, mlp=4096, layers=24, heads=16, image_size=336, patch_size=14),
    LanguageConfig(
        tokens=32000,
        width=4096,
        mlp=14336,
        layers=32,
        heads=32,
        key_heads=8,
        head_width=128,
        rope=1e6,
        epsilon=1e-5,
        window=None,
    ),
    feature_layer=-2,
    context=2048,
    legacy=True,
    layout=_ORIGINAL,
)
OPTIONS = {"precision": "bfloat16", "quantize": "none"}
INT8 = {**OPTIONS, "quantize": "int8"}


def _machine(name: str, gigabytes: float) -> Machine:
    return Machine(8, 64 * GIB, False, (Gpu(name, int(gigabytes * GIB)),))


def test_llava_med_has_the_published_tensors_and_size():
    shapes = LLAVA_MED.shapes()
    assert len(shapes) == 686
    assert len([name for name in shapes if ".vision_tower." in name]) == 391
    assert needed_memory(LLAVA_MED, **OPTIONS).weights == pytest.approx(15.1e9, rel=0.01)
    assert needed_memory(LLAVA_MED, **INT8).weights == pytest.approx(7.9e9, rel=0.02)
    # 32 layers, keys and values of 8 heads of 128, 2 bytes each, 2048 tokens.
    assert needed_memory(LLAVA_MED, **OPTIONS).cache == 32 * 2 * 8 * 128 * 2 * 2048


def test_a_t4_takes_int8_only():
    assert check_memory(LLAVA_MED, **INT8, machine=_machine("Tesla T4", 15)).total < 9 * GIB
    with pytest.raises(HardwareError, match=r"Tesla T4 has 15\.0 GB.*--quantize int8"):
        check_memory(LLAVA_MED, **OPTIONS, machine=_machine("Tesla T4", 15))


def test_an_rtx_2060_takes_neither():
    for options in (OPTIONS, INT8):
        with pytest.raises(HardwareError, match="with more memory"):
            check_memory(LLAVA_MED, **options, machine=_machine("RTX 2060", 6))


def test_without_a_gpu_the_main_memory_counts():
    assert check_memory(LLAVA_MED, **OPTIONS, machine=Machine(8, 32 * GIB, False))
    with pytest.raises(HardwareError, match="this machine has"):
        check_memory(LLAVA_MED, **OPTIONS, machine=Machine(8, 12 * GIB, False))


def test_the_page_states_these_sizes():
    page = (Path(__file__).parents[2] / "docs" / "vlm.md").read_text()
    for row, options in (("memory, bfloat16", OPTIONS), ("memory, `--quantize int8`", INT8)):
        size = needed_memory(LLAVA_MED, **options).total / GIB
        assert f"| {row} | {size:.1f} GB" in page
    assert f"| download | {KNOWN['llava-med'].gigabytes} GB" in page
    assert KNOWN["llava-med"].licence in page
