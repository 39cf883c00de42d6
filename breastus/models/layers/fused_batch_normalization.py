"""Batch normalisation as one operation: feature maps in, normalised maps out, as Keras gives them.

    training:   y = (x - mean(x)) / sqrt(variance(x) + epsilon) * gamma + beta
    otherwise:  y = (x - moving_mean) / sqrt(moving_variance + epsilon) * gamma + beta

Keras writes this out as a dozen passes over the maps, and their gradient as some more. TensorFlow
has one operation for it, which is oneDNN's on processors and cuDNN's on GPUs.

Reference:
    Ioffe, Szegedy: Batch Normalization. ICML 2015.
"""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("breastus")
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' `BatchNormalization`, faster: the same arguments, weights and results.

    Keras' own implementation takes over where the operation does not apply: inputs that are not
    [B, H, W, C] or are float64, another axis than the last, masks, statistics over several devices,
    and batch renormalisation.

    An empty batch leaves the moving statistics alone, which Keras' layer makes NaN.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._fusable(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        fitting = bool(training) and self.trainable
        moving = [tf.cast(v, tf.float32) for v in (self.moving_mean, self.moving_variance)]
        # Not `fused_batch_norm`, which takes an epsilon of 1e-5 (ResNet's) for 1.001e-5.
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones_like(moving[0]),
            offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros_like(moving[0]),
            mean=[] if fitting else moving[0],
            variance=[] if fitting else moving[1],
            epsilon=self.epsilon,
            is_training=fitting,
        )
        if fitting:
            self._follow(mean, variance, tf.size(inputs, tf.int64) // self.moving_mean.shape[0])
        return tf.cast(y, self.compute_dtype)

    def _follow(self, mean, variance, count):
        """Update the moving statistics from a batch with `count` values per channel."""
        count = tf.cast(count, tf.float32)
        # The operation divides the sum of squares by count - 1, Keras by count.
        variance = tf.where(count > 1, variance * ((count - 1) / count), 0.0)
        for variable, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = tf.cast(variable, tf.float32)
            new = old * self.momentum + found * (1.0 - self.momentum)
            variable.assign(tf.where(count > 0, new, old))

    def _fusable(self, inputs, mask) -> bool:
        return (
            inputs.shape.rank == 4
            and self.axis in (-1, 3)
            and inputs.dtype in (tf.float32, tf.float16, tf.bfloat16)
            and mask is None
            and not self.synchronized
            and not self.renorm
        )
