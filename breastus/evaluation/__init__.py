"""Evaluation of predictions: metrics, intervals, calibration, decision and robustness.

Unless a docstring says otherwise, `y_true` is int [n], 1 for lump and 0 for no lump; `y_prob` is
float [n], the probability of lump, 0 to 1; `groups` is [n], the name of each image's patient or
scene, and None makes each image its own group; `weights` is [..., n], how often each image counts,
and None counts each once; `confidence` is the level of an interval, above 0 and below 1. An image
is predicted lump when `y_prob >= threshold`. Options are checked where they are made, in
`EvaluationConfig` and `EvaluationOptions`; arrays that do not fit each other, or hold an invalid
label, probability or group, raise DataError. What valid data leave undefined is NaN, with an
UndefinedMetricWarning.
"""
