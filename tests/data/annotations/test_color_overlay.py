"""Drawn colours are distinguished from the tint of a device and the rounding of a JPEG."""

import pytest
from drawing import GREEN, YELLOW, box, flow, jpeg, open_plus, phantom_scan, tinted

from breastus.data.annotations.color_overlay import ColorOverlay, find_color


@pytest.fixture(scope="module")
def scan():
    return phantom_scan(2, 1)


BASES = {
    "grey": lambda x: x,
    "bluish": tinted,
    "warm": lambda x: tinted(x, (1.0, 0.93, 0.8)),
    "JPEG": jpeg,
    "bluish JPEG": lambda x: jpeg(tinted(x)),
}


@pytest.mark.parametrize("name", BASES)
def test_tints_do_not_count(scan, name):
    assert find_color(BASES[name](scan)) == ColorOverlay()


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("radius", [7, 12, 30])
def test_flow(scan, name, radius):
    found = find_color(flow(BASES[name](scan), (200, 200), radius=radius))
    assert found.flow
    assert not found.wide
    assert not found.graphics  # flow's own colours are no drawing


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("color", [YELLOW, GREEN])
def test_drawings(scan, name, color):
    found = find_color(open_plus(BASES[name](scan), [(150, 200), (300, 260)], color=color))
    assert found.graphics
    assert not found.flow
    assert not found.wide


def test_the_lines_of_a_doppler_box_are_yellow(scan):
    assert find_color(box(scan, (120, 100, 330, 300))).yellow
    assert not find_color(box(scan, (120, 100, 330, 300), color=GREEN)).yellow
    assert not find_color(open_plus(scan, [(150, 200)])).yellow


def test_elastography_is_wide(scan):
    colored = scan.copy()
    colored[100:300, 100:400] = colored[100:300, 100:400] // 2
    colored[100:300, 100:250, 0] += 120
    colored[100:300, 250:400, 1] += 120
    assert find_color(colored).wide


def test_marks_of_the_device_at_the_edges_do_not_count(scan):
    edge = scan.copy()
    edge[2:12, 100:130] = GREEN
    assert not find_color(edge).graphics
    edge[60:70, 100:130] = GREEN
    assert find_color(edge).graphics
