"""Find what is drawn on an image and take it away, in TensorFlow ops: [H, W, 3], values 0 to 255.

    find_annotations(image)     bool [H, W]: crosses, letters, dotted lines, boxes, thin colour
    remove_annotations(image)   the image, what is drawn filled from around it

Works at the size the device drew: marks on a shrunk image cannot be told from echoes. Strokes are
thin and flat, and their edges rise and fall within a pixel. Echoes do so from above to below, as
the beam runs, but not from left to right: what has such edges on its left and right is drawn, and
so is what is connected to it.
"""

import tensorflow as tf

from breastus.preprocessing.sliding import dilate, erode, sliding_reduce

# Numbers without a source are our choice, made on BUSI's images with and without marks.
_STROKE = 6  # pixels; strokes are at most so thick. BUSI's have 2 to 5
_STEEP = 30  # grey levels from one pixel to the next at the edges of a stroke
_BRIGHT = 110  # grey levels that strokes have at the least; BUSI's have about 226
_RUN, _FLAT = 2, 25  # a stroke goes on for so many pixels both ways, and differs by so many levels
_DOTS = 16, 6  # pixels of a square, and how many in it must be steep on all four sides
_NEAR = 21  # side of the square around what is sure in which strokes of its level are drawn too
_ALIKE = 30  # grey levels
_RAISED = 11, 40  # or what is brighter, by so many levels, than a square's darkest surroundings
_RIM = 3  # side of the square around each drawn pixel that goes with it: edges are soft
# Lines of a box: brighter by so many levels than what is two pixels beside them, over such a share
# of the image's width and height.
_LINE, _ACROSS, _DOWN = 8, 0.3, 0.2
_SHORTEST = 32  # pixels; in a tiny image a stroke is as long
# Colour: levels between the channels, and from the image's own tint of that brightness.
_GREY, _TINT, _VIVID = 12, 40, 60
_THICK, _PATCH = 7, 21  # vivid squares so large are flow, and all that is vivid around them
_REACH = 6  # pixels from which a drawn one is filled, as far down and to the right
_TILE = 16  # pixels a side; where all is drawn up to there, from 5 x 5 such tiles


def find_annotations(image: tf.Tensor) -> tf.Tensor:
    """Find what is drawn.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        bool [H, W].
    """
    image = tf.cast(image, tf.float32)
    red, green, blue = tf.unstack(image, axis=-1)  # faster than reductions along a short axis
    grey = tf.maximum(tf.maximum(red, green), blue)
    spread = grey - tf.minimum(tf.minimum(red, green), blue)
    drawn = _strokes(grey) | _lines(grey, 0, _DOWN) | _lines(grey, 1, _ACROSS)
    return tf.cond(
        tf.reduce_max(spread) > _GREY,
        lambda: drawn | _coloured(image, grey, spread),
        lambda: drawn,
    )


def remove_annotations(image: tf.Tensor) -> tf.Tensor:
    """Fill what is drawn from around it.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        The image, same shape and type, filled in whole grey levels. Without marks it is unchanged.
    """
    return fill_annotations(image, find_annotations(image))


def fill_annotations(image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Fill what `find_annotations` found, bool [H, W]. As `remove_annotations`."""
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
    """Whether a pixel has a steep rise before it and a steep fall after it, a stroke apart."""
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
    """Whether a pixel is part of an upright or slanted stroke that goes on, of one level."""
    # Few pixels are upright: they are looked at one by one.
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
    """Whether a pixel is part of a dot, one of several."""
    side, least = _DOTS
    count = tf.cast(dots, tf.float32)
    for axis in (0, 1):
        count = sliding_reduce(count, axis, tf.add, before=side // 2, after=side // 2 - 1)
    return dots & (count >= least)


def _lines(grey: tf.Tensor, axis: int, share: float) -> tf.Tensor:
    """Whether a pixel is part of a straight line along an axis, over a share of the image."""
    if axis == 0:
        return tf.transpose(_lines(tf.transpose(grey), 1, share))
    padded = tf.pad(grey, [[2, 2], [0, 0]], constant_values=255.0)  # a border is no line
    raised = tf.cast(grey - tf.maximum(padded[:-4], padded[4:]) > _LINE, tf.float32)
    width = tf.shape(grey)[1]
    length = tf.cast(share * tf.cast(width, tf.float32), tf.int32)
    length = tf.maximum(length, _SHORTEST)

    def along() -> tf.Tensor:
        whole = tf.cast(_sums(raised, length) >= tf.cast(length, tf.float32), tf.float32)
        # A pixel is on the line when one of the stretches that hold it is.
        spread = _sums(tf.pad(whole, [[0, 0], [length - 1, length - 1]]), length)
        return dilate(tf.cast(spread > 0, tf.float32), _RIM) > 0

    lit = tf.reduce_max(tf.reduce_sum(raised, axis=1)) >= tf.cast(length, tf.float32)
    return tf.cond(lit & (width >= length), along, lambda: tf.zeros_like(grey, tf.bool))


def _sums(rows: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Return the sums of `length` neighbours in each row: [H, W] to [H, W - length + 1]."""
    total = tf.pad(tf.cumsum(rows, axis=1), [[0, 0], [1, 0]])
    return total[:, length:] - total[:, :-length]


def _coloured(image: tf.Tensor, grey: tf.Tensor, spread: tf.Tensor) -> tf.Tensor:
    """Whether a pixel is part of a thin drawing in another colour than the image's tint."""
    chroma = tf.stack([image[..., 0] - image[..., 1], image[..., 2] - image[..., 1]], axis=-1)
    level = tf.cast(grey, tf.int32) // 8
    # A ninth of the pixels tells as much, and pale ones tell the tint.
    pale = spread[::3, ::3] <= _TINT
    tint = tf.math.unsorted_segment_mean(chroma[::3, ::3][pale], level[::3, ::3][pale], 32)
    off_tint = tf.reduce_max(tf.abs(chroma - tf.gather(tint, level)), axis=-1)
    vivid = tf.cast((off_tint > _VIVID) & (spread > _VIVID), tf.float32)
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

    # Few pixels are drawn: going around each is faster than blurring the image.
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
    """Return means over tiles around places; where all is drawn there too, black."""
    keep = tf.cast(~drawn, tf.float32)[..., None]
    weighted = tf.concat([tf.cast(image, tf.float32) * keep, keep], axis=-1)
    tiles = tf.nn.avg_pool2d(weighted[None], _TILE, _TILE, "SAME")
    tiles = tf.nn.avg_pool2d(tiles, 5, 1, "SAME")[0]
    sums = tf.gather_nd(tiles, places // _TILE)
    return tf.math.divide_no_nan(sums[:, :3], sums[:, 3:])
