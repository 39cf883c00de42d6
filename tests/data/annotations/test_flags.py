"""Flags of an image, from its pixels and from its source."""

import drawing
import numpy as np
import pytest
from drawing import phantom_scan

from breastus.data.annotations.flags import FLAGS, annotation_flags
from breastus.data.images import ImageFile, to_png
from breastus.data.manifest.build import load_manifest
from breastus.data.sources import bus_uclm, busi
from breastus.data.sources.class_names import ClassNames

PLACES = [(150, 200), (300, 260)]
MARKS = {
    "plain": (lambda x: x, ()),
    "tinted": (drawing.tinted, ()),
    "JPEG": (drawing.jpeg, ()),
    "darker": (lambda x: x // 2, ()),
    "brighter": (lambda x: np.clip(x * 1.5 + 20, 0, 255).astype(np.uint8), ()),
    "yellow crosses": (lambda x: drawing.open_plus(x, PLACES), ("caliper",)),
    "green crosses": (
        lambda x: drawing.open_plus(x, PLACES, color=drawing.GREEN),
        ("caliper",),
    ),
    "letters": (lambda x: drawing.letters(x, "RT BREAST", (12, 300)), ("text",)),
    "flow": (lambda x: drawing.flow(x, (200, 200)), ("color_doppler",)),
    "yellow box": (
        lambda x: drawing.box(x, (120, 100, 330, 300)),
        ("caliper", "color_doppler"),
    ),
    "green box": (
        lambda x: drawing.box(x, (120, 100, 330, 300), color=drawing.GREEN),
        ("caliper",),
    ),
    "panel with a mark on it": (
        lambda x: drawing.plus(drawing.panel(x), [(40, len(x) - 40)], color=drawing.YELLOW),
        ("body_marker",),
    ),
    "all": (
        lambda x: drawing.letters(
            drawing.flow(drawing.open_plus(x, PLACES), (200, 100)), "RT BREAST", (12, 330)
        ),
        ("caliper", "text", "color_doppler"),
    ),
}


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("index", [0, 1, 8])
def test_drawings_are_flagged_and_nothing_else(name, index):
    mark, expected = MARKS[name]
    assert annotation_flags(mark(phantom_scan(2, index))) == expected


def test_two_views():
    both = drawing.side_by_side(phantom_scan(2, 0), phantom_scan(2, 1), gap=12)
    assert annotation_flags(both) == ("dual_view",)


@pytest.mark.parametrize("shape", [(1, 1), (20, 300), (64, 64), (63, 200)])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_flat_and_tiny_images_have_no_calipers_text_or_color(shape, level):
    found = annotation_flags(np.full((*shape, 3), level, np.uint8))
    assert ("nearly_black" in found) == (level == 0)
    assert set(found) <= {"body_marker", "nearly_black"}
    assert "body_marker" not in found or level == 90  # nothing but a flat grey level, as panels are


def test_the_image_is_not_changed():
    scan = drawing.panel(phantom_scan(2, 0))
    before = scan.copy()
    annotation_flags(scan)
    assert np.array_equal(scan, before)


def test_flags_of_the_source_are_kept_once(tmp_path):
    images = tmp_path / "BUS-UCLM" / "images"
    images.mkdir(parents=True)
    (tmp_path / "BUS-UCLM" / "masks").mkdir()
    rows = ["Image;Resolution;Label;Doppler;Marks;Combined"]
    for name, scan, marks, combined in (
        ("AAAA_000", drawing.open_plus(phantom_scan(2, 0), PLACES), "Yes", "No"),
        ("AAAA_001", phantom_scan(2, 1), "Yes", "Yes"),
        ("BBBB_000", drawing.letters(phantom_scan(2, 2), "RT BREAST", (12, 300)), "No", "No"),
    ):
        (images / f"{name}.png").write_bytes(to_png(scan))
        rows.append(f"{name}.png;1x1;Benign;No;{marks};{combined}")
    (tmp_path / "BUS-UCLM" / "INFO.csv").write_text("\n".join(rows))
    table = load_manifest(tmp_path / "BUS-UCLM")
    assert table["flags"].tolist() == ["caliper", "caliper;dual_view", "text"]


def test_class_folders_get_flags(tmp_path):
    (tmp_path / "lump").mkdir()
    (tmp_path / "no_lump").mkdir()
    (tmp_path / "no_lump" / "a.png").write_bytes(to_png(phantom_scan(2, 0)))
    flow = drawing.flow(phantom_scan(2, 1), (200, 200))
    (tmp_path / "lump" / "b.png").write_bytes(to_png(flow))
    table = load_manifest(tmp_path).set_index("label")
    assert table.loc["no_lump", "flags"] == ""
    assert table.loc["lump", "flags"] == "color_doppler"


def _rates(images, flag):
    """Return sensitivity and specificity of a flag against what the source says."""
    known = np.array([flag in image.flags for image in images])
    found = np.array([flag in annotation_flags(ImageFile.read(i.path).pixels) for i in images])
    return found[known].mean(), (~found[~known]).mean()


@pytest.mark.data
@pytest.mark.slow
def test_flags_of_the_real_bus_uclm(real_data):
    images = bus_uclm.read(real_data / "bus_uclm_sample").images
    assert _rates(images, "color_doppler") == (1.0, 1.0)
    sensitivity, specificity = _rates(images, "caliper")
    assert sensitivity >= 0.95
    assert specificity >= 0.95


@pytest.mark.slow
@pytest.mark.data
def test_flags_of_the_real_busi(real_data):
    images = busi.read(real_data / "busi", ClassNames()).images
    assert _rates(images, "color_doppler") == (1.0, 1.0)


def test_flags_equal_those_of_the_manifest():
    assert FLAGS == (
        "caliper",
        "text",
        "color_doppler",
        "color_mode",
        "dual_view",
        "body_marker",
        "nearly_black",
    )


@pytest.mark.parametrize("shift", [2, 4, 8])  # 14, 12 and 8 bits, read as 16
def test_an_image_of_a_misread_range_is_nearly_black(shift):
    scan = phantom_scan(2, 0)
    assert "nearly_black" not in annotation_flags(scan // 2)
    assert "nearly_black" in annotation_flags(scan >> shift)
    marked = scan >> shift
    marked[10:14, 10:20] = 255  # text that was burned in later
    assert "nearly_black" in annotation_flags(marked)
