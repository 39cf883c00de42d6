"""Evaluation of predictions: metrics, intervals, calibration, decision and robustness.

Unless a docstring says otherwise, `y_true` is int [n], 1 for lump and 0 for no lump; `y_prob` is
float [n], the probability of lump, 0 to 1; `groups` is [n], the name of each image's patient or
scene, and None makes each image its own group. A level of confidence is above 0 and below 1.
Options out of range raise ConfigError; arrays that do not fit each other, or hold an invalid label,
probability or group, raise DataError. What valid data leave undefined is NaN, with an
UndefinedMetricWarning.
"""
