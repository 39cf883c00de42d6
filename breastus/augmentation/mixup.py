"""Mixup: each image of a batch becomes a weighted mean of itself and another, as does its target.

Reference:
    Zhang, Cissé, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization. ICLR 2018.
"""

import tensorflow as tf


def mixup(
    alpha: float, inputs: tf.Tensor, targets: tf.Tensor, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix a batch with itself in another order.

    Args:
        alpha: parameter of the Beta(alpha, alpha) distribution of each image's weight, above 0.
            With a small alpha most images stay nearly unmixed.
        inputs: float32 [B, H, W, C].
        targets: float32 [B, classes], class probabilities.
        seeds: int32 [B, 2], seeds of the images, which decide the result. The first one decides
            the order.

    Returns:
        Mixed inputs and mixed targets.
    """
    # Other random numbers than those that the augmentation draws from the same seeds.
    seeds = tf.map_fn(lambda seed: tf.random.fold_in(seed, 0x6D6978), seeds)
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(inputs)[0]), seed=seeds[0])
    weight = tf.map_fn(lambda seed: _beta(alpha, seed), seeds, fn_output_signature=tf.float32)

    def mixed(values: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(weight, [-1] + [1] * (len(values.shape) - 1))
        return own * values + (1.0 - own) * tf.gather(values, order)

    return mixed(inputs), mixed(targets)


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Draw from Beta(alpha, alpha), scalar float32.

    As the ratio of two gamma variates, in logarithms: for small alpha both would round to zero.
    Gamma(alpha) is Gamma(alpha + 1) * uniform^(1 / alpha).
    """
    gamma_seed, uniform_seed = tf.unstack(tf.random.split(seed, 2))
    gamma = tf.random.stateless_gamma([2], gamma_seed, alpha + 1.0, dtype=tf.float64)
    uniform = tf.random.stateless_uniform([2], uniform_seed, 1e-300, 1.0, dtype=tf.float64)
    logs = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    return tf.cast(tf.sigmoid(logs[0] - logs[1]), tf.float32)
