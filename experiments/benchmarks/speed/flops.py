"""How many multiplications and additions the two networks take, from their shapes."""

_TRAINING = 3  # a step: forward, and backward to both the inputs and the weights


def gflops(network: str, size: int, *, training: bool) -> float:
    """Return billions of floating-point operations an image, a multiply-add counted as two.

    Products of matrices and convolutions only, as is usual: no pooling, norms or activations.
    """
    macs = {"cnn": _cnn, "swin": _swin}[network](size)
    return 2e-9 * macs * (_TRAINING if training else 1)


def _cnn(size: int, classes: int = 2) -> int:
    total, channels = 0, 3
    for filters in (32, 64, 128):
        size -= 2
        total += size**2 * 9 * channels * filters
        size, channels = size // 2, filters
    return total + size**2 * channels * classes


def _swin(size: int, classes: int = 2, window: int = 7) -> int:
    """Swin-T: 4.5 billion at 224 pixels (Liu et al., ICCV 2021, table 1)."""
    channels, side = 96, size // 4
    total = side**2 * channels * 4 * 4 * 3
    for stage, depth in enumerate((2, 2, 6, 2)):
        if stage:
            side //= 2
            total += side**2 * 4 * channels * 2 * channels
            channels *= 2
        tokens = side**2
        # Query, key, value and projection; the two layers of the MLP; scores and their sum.
        block = tokens * channels**2 * (4 + 8) + 2 * tokens * window**2 * channels
        total += depth * block
    return total + channels * classes
