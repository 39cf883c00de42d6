"""Find and remove burned-in annotations, in TensorFlow ops: [H, W, 3], values 0 to 255.

    find_annotations(image)     bool [H, W]: crosses, letters, dotted lines, boxes, thin colour
    remove_annotations(image)   the image, annotations filled from their surroundings

The image must have its original size: annotations on a shrunk one look like echoes. Strokes are
thin and flat, and their edges rise and fall within a pixel. Edges of echoes do so downwards, along
the beam, but not sideways. A stroke with such edges on its left and right is therefore drawn, and
so is everything connected to it.

`breastus.data.annotations` flags annotations of an image in NumPy and names their kind. This module
runs in the exported graph and marks their pixels. Both share the thresholds of lines and colours.
"""

import tensorflow as tf

from breastus.data.annotations.color_overlay import GREY_SPREAD, TINT_SPREAD, VIVID
from breastus.data.annotations.layout import LINE_ACROSS, LINE_CONTRAST, LINE_DOWN
from breastus.preprocessing.sliding import dilate, erode, sliding_reduce

# Numbers without a source are our choice, made on BUSI's images with and without annotations.
# Lengths are in pixels, brightness in grey levels.
_STROKE = 6  # largest thickness of a stroke; BUSI's have 2 to 5
_STEEP = 30  # least step from one pixel to the next at the edges of a stroke
_BRIGHT = 110  # least brightness of a stroke; BUSI's have about 226
_RUN, _FLAT = 2, 25  # least length of a stroke in both directions, largest difference along it
_DOTS = 16, 6  # side of a square, and the least number of its pixels with four steep sides
_NEAR = 21  # side of the square around a certain stroke in which others of its level are drawn too
_ALIKE = 30  # largest difference from that level
_RAISED = 11, 40  # side of a square, and the least difference from its darkest surroundings
_RIM = 3  # side of the square around each drawn pixel that is drawn too, since edges are soft
_SHORTEST = 32  # least length of a line, longer than a stroke also in a tiny image
_THICK, _PATCH = 7, 21  # side of a vivid square that is flow, and of its surroundings
_REACH = 6  # distance, down and to the right, of the pixels that fill a drawn one
_TILE = 16  # side of a tile; where no such pixel is free, 5 x 5 tiles fill it


def find_annotations(image: tf.Tensor) -> tf.Tensor:
    """Return the pixels of annotations.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        bool [H, W].
    """
    image = tf.cast(image, tf.float32)
    red, green, blue = tf.unstack(image, axis=-1)  # faster than reductions along a short axis
    grey = tf.maximum(tf.maximum(red, green), blue)
    spread = grey - tf.minimum(tf.minimum(red, green), blue)
    drawn = _strokes(grey) | _lines(grey, 0, LINE_DOWN) | _lines(grey, 1, LINE_ACROSS)
    return tf.cond(
        tf.reduce_max(spread) > GREY_SPREAD,
        lambda: drawn | _coloured(image, grey, spread),
        lambda: drawn,
    )


def remove_annotations(image: tf.Tensor) -> tf.Tensor:
    """Fill annotations from their surroundings.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        The image, same shape and type, filled in whole grey levels; unchanged without annotations.
    """
    return fill_annotations(image, find_annotations(image))


def fill_annotations(image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Fill the pixels that `find_annotations` returned, bool [H, W]; see `remove_annotations`."""
    return tf.cond(tf.reduce_any(drawn), lambda: _filled(image, drawn), lambda: image)


def _strokes(grey: tf.Tensor) -> tf.Tensor:
    bright = grey > _BRIGHT
    upright, level = (_between_edges(grey, axis) & bright for axis in (1, 0))
    sure = _runs(upright, grey) | _dotted(upright & level)

    def with_neighbours() -> tf.Tensor:
        around = dilate(tf.where(sure, grey, 0.0), _NEAR)
        side, contrast = _RAISED
        raised = grey - dilate(erode(grey, side), side) > contrast
        drawn = (upright | level | raised) & (tf.abs(grey - around) < _ALIKE)
        return dilate(tf.cast(drawn | sure, tf.float32), _RIM) > 0

    return tf.cond(tf.reduce_any(sure), with_neighbours, lambda: sure)


def _between_edges(grey: tf.Tensor, axis: int) -> tf.Tensor:
    """Return where a steep rise before a pixel and a steep fall after it are a stroke apart."""
    pads = [[1, 1] if number == axis else [0, 0] for number in (0, 1)]
    padded = tf.pad(grey, pads, "SYMMETRIC")  # the image's border is no edge
    before = tf.slice(padded, [0, 0], tf.shape(grey))
    after = tf.slice(padded, [2 if axis == 0 else 0, 2 if axis == 1 else 0], tf.shape(grey))
    rise = tf.cast(grey - before > _STEEP, tf.float32)
    fall = tf.cast(grey - after > _STEEP, tf.float32)
    rise = sliding_reduce(rise, axis, tf.maximum, before=_STROKE - 1, after=0)
    fall = sliding_reduce(fall, axis, tf.maximum, before=0, after=_STROKE - 1)
    return tf.minimum(rise, fall) > 0


def _runs(upright: tf.Tensor, grey: tf.Tensor) -> tf.Tensor:
    """Return the pixels of upright or slanted strokes of some length and of one level."""
    # Few pixels are upright, so each is examined separately.
    inside = tf.pad(tf.cast(upright, tf.int32), [[_RUN, _RUN], [_RUN, _RUN]])
    grey = tf.pad(grey, [[_RUN, _RUN], [_RUN, _RUN]])
    places = tf.cast(tf.where(upright), tf.int32) + _RUN
    found = tf.zeros([0, 2], tf.int32)
    for right in (0, 1, -1):
        steps = tf.constant([(step, step * right) for step in range(-_RUN, _RUN + 1)])
        run = places[:, None] + steps
        levels = tf.gather_nd(grey, run)
        flat = tf.reduce_max(levels, axis=1) - tf.reduce_min(levels, axis=1) < _FLAT
        whole = tf.reduce_min(tf.gather_nd(inside, run), axis=1) > 0
        found = tf.concat([found, tf.reshape(run[flat & whole], [-1, 2])], axis=0)
    counted = tf.scatter_nd(found - _RUN, tf.ones_like(found[:, 0]), tf.shape(upright))
    return counted > 0


def _dotted(dots: tf.Tensor) -> tf.Tensor:
    """Return the pixels of dots that have others near them."""
    side, least = _DOTS
    count = tf.cast(dots, tf.float32)
    for axis in (0, 1):
        count = sliding_reduce(count, axis, tf.add, before=side // 2, after=side // 2 - 1)
    return dots & (count >= least)


def _lines(grey: tf.Tensor, axis: int, fraction: float) -> tf.Tensor:
    """Return the pixels of straight lines along an axis, over a fraction of the image."""
    if axis == 0:
        return tf.transpose(_lines(tf.transpose(grey), 1, fraction))
    padded = tf.pad(
        grey, [[2, 2], [0, 0]], constant_values=255.0
    )  # the border of the image is no line
    raised = tf.cast(grey - tf.maximum(padded[:-4], padded[4:]) > LINE_CONTRAST, tf.float32)
    width = tf.shape(grey)[1]
    length = tf.cast(fraction * tf.cast(width, tf.float32), tf.int32)
    length = tf.maximum(length, _SHORTEST)

    def along() -> tf.Tensor:
        whole = tf.cast(_sums(raised, length) >= tf.cast(length, tf.float32), tf.float32)
        # A pixel is on the line if one of the stretches that contain it is.
        spread = _sums(tf.pad(whole, [[0, 0], [length - 1, length - 1]]), length)
        return dilate(tf.cast(spread > 0, tf.float32), _RIM) > 0

    lit = tf.reduce_max(tf.reduce_sum(raised, axis=1)) >= tf.cast(length, tf.float32)
    return tf.cond(lit & (width >= length), along, lambda: tf.zeros_like(grey, tf.bool))


def _sums(rows: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Return the sums of `length` neighbours in each row: [H, W] to [H, W - length + 1]."""
    total = tf.pad(tf.cumsum(rows, axis=1), [[0, 0], [1, 0]])
    return total[:, length:] - total[:, :-length]


def _coloured(image: tf.Tensor, grey: tf.Tensor, spread: tf.Tensor) -> tf.Tensor:
    """Return the pixels of thin drawings in another colour than the tint of the image."""
    chroma = tf.stack([image[..., 0] - image[..., 1], image[..., 2] - image[..., 1]], axis=-1)
    level = tf.cast(grey, tf.int32) // 8
    # The pale pixels give the tint, and a ninth of them is enough.
    pale = spread[::3, ::3] <= TINT_SPREAD
    tint = tf.math.unsorted_segment_mean(chroma[::3, ::3][pale], level[::3, ::3][pale], 32)
    off_tint = tf.reduce_max(tf.abs(chroma - tf.gather(tint, level)), axis=-1)
    vivid = tf.cast((off_tint > VIVID) & (spread > VIVID), tf.float32)
    patches = dilate(erode(vivid, _THICK), _PATCH)
    return dilate(vivid * (1.0 - patches), _RIM) > 0


def _filled(image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    places = tf.cast(tf.where(drawn), tf.int32)
    margin = [[_REACH, _REACH], [_REACH, _REACH]]
    padded, keep = tf.pad(image, [*margin, [0, 0]]), tf.pad(~drawn, margin)
    steps = range(-_REACH, _REACH + 1, 2)
    offsets = tf.constant([(down, right) for down in steps for right in steps])
    weights = tf.reduce_prod(tf.cast(_REACH + 2 - tf.abs(offsets), tf.float32), axis=1)

    def join(number: tf.Tensor, total: tf.Tensor, count: tf.Tensor):
        there = places + _REACH + offsets[number]
        weight = weights[number] * tf.cast(tf.gather_nd(keep, there), tf.float32)[:, None]
        total += weight * tf.cast(tf.gather_nd(padded, there), tf.float32)
        return number + 1, total, count + weight

    # Few pixels are drawn, so visiting the surroundings of each is faster than a blur.
    nothing = tf.zeros([tf.shape(places)[0], 4])
    _, total, count = tf.while_loop(
        lambda number, *_: number < len(offsets), join, (0, nothing[:, :3], nothing[:, 3:])
    )
    values = tf.cond(
        tf.reduce_all(count > 0),
        lambda: total / count,
        lambda: tf.where(
            count > 0,
            tf.math.divide_no_nan(total, count),
            _afar(image, drawn, places),
        ),
    )
    return tf.tensor_scatter_nd_update(image, places, tf.cast(tf.round(values), image.dtype))


def _afar(image: tf.Tensor, drawn: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Return means over tiles around places, black where those have no free pixel."""
    keep = tf.cast(~drawn, tf.float32)[..., None]
    weighted = tf.concat([tf.cast(image, tf.float32) * keep, keep], axis=-1)
    tiles = tf.nn.avg_pool2d(weighted[None], _TILE, _TILE, "SAME")
    tiles = tf.nn.avg_pool2d(tiles, 5, 1, "SAME")[0]
    sums = tf.gather_nd(tiles, places // _TILE)
    return tf.math.divide_no_nan(sums[:, :3], sums[:, 3:])
