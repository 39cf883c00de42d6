"""The picture of a lesion map: tissue stays where nothing is seen, colours where something is."""

import numpy as np

from breastus.reporting.heat_map import beside_image, heat_map


def test_colours_show_where_the_map_is_high(speckle):
    pixels = speckle(60, 80) // 2
    found = np.zeros((6, 8), np.float32)
    found[1:3, 5:7] = 1.0
    drawn = heat_map(pixels, found, side=80)
    assert drawn.shape[0] == 60
    image = drawn[:, :80].astype(int)
    np.testing.assert_array_equal(image[40:, :30], pixels[40:, :30])  # the map is 0 there
    # Yellow, the colour of 1, has much red and green, and little blue.
    middle = image[18:22, 58:62].mean(axis=(0, 1)) - pixels[18:22, 58:62].mean(axis=(0, 1))
    assert middle[2] < middle[0] - 50
    assert middle[2] < middle[1] - 50
    assert (image > 200).all(axis=-1).any()  # the line along 0.5


def test_a_colour_bar_runs_from_one_to_zero(speckle):
    bar = heat_map(speckle(100, 80), np.zeros((4, 4)), side=100)[:, 80:]
    top, bottom = bar[2, 10].astype(int), bar[-3, 10].astype(int)
    assert np.ptp(top) > 80
    assert np.ptp(bottom) < 5  # at 0 there is no colour


def test_the_image_is_beside_it_and_large_ones_are_shrunk(speckle):
    drawn = beside_image(speckle(300, 400), np.zeros((4, 4), np.float32), side=200)
    assert drawn.shape[0] == 150
    assert drawn.shape[1] > 400
    np.testing.assert_array_equal(drawn[:, :200], drawn[:, 208:408])
