"""Calibrators: monotone maps from the network's probability of lump to a calibrated one.

With p the network's probability of lump and z = log(max(p, 1e-12)) - log(max(1 - p, 1e-12)):

    none         p
    temperature  sigmoid((z - shift) / temperature)
    platt        sigmoid(slope * z + intercept)
    isotonic     y_0 + sum over k of (y_k+1 - y_k) * clip((p - x_k) / (x_k+1 - x_k), 0, 1)

All are monotone, so the order of the images stays, except that isotonic makes ties. `to_dict` gives
the numbers of these formulas as JSON values; an exported graph needs no others.

References:
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
    Platt: Probabilistic Outputs for Support Vector Machines. Advances in Large Margin Classifiers,
    1999.
    Zadrozny, Elkan: Transforming Classifier Scores into Accurate Multiclass Probability Estimates.
    KDD 2002.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from breastus.errors import ConfigError
from breastus.evaluation.calibration.logistic import logit, sigmoid
from breastus.evaluation.calibration.temperature import apply_temperature
from breastus.evaluation.validation import check_choice, check_number, check_probabilities
from breastus.labels import LUMP

# Method to its parameters, from the simplest to the most flexible. The shift is known beforehand.
_PARAMETERS = {
    "none": (),
    "temperature": ("temperature", "shift"),
    "platt": ("slope", "intercept"),
    "isotonic": ("knots",),
}
METHODS = tuple(_PARAMETERS)


@dataclass(frozen=True)
class Calibrator:
    """One calibrator; parameters of other methods stay at their defaults.

    Attributes:
        method: one of `METHODS`.
        temperature: divisor of the logit, above 0; above 1 makes probabilities less extreme.
        shift: number subtracted from the logit first, which class weights or balanced sampling
            added.
        slope: factor of the logit, above 0.
        intercept: number added to the logit.
        knots: (x, y) of isotonic, probability in and out. x rises strictly from 0 to 1, and y never
            falls and stays within 0 and 1.

    Raises:
        ConfigError: when a parameter is out of range.
    """

    method: str = "none"
    temperature: float = 1.0
    shift: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self):
        check_number("temperature", self.temperature, 0, math.inf)
        check_number("shift", self.shift, -math.inf, math.inf)
        check_number("slope", self.slope, 0, math.inf)
        check_number("intercept", self.intercept, -math.inf, math.inf)

    def apply(self, y_prob: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities of lump, [n], from the network's, [n]."""
        y_prob = check_probabilities(y_prob)
        if self.method == "temperature":
            both = np.stack([1 - y_prob, y_prob], axis=-1)
            return apply_temperature(both, self.temperature, shift=self.shift)[:, LUMP]
        if self.method == "platt":
            return sigmoid(self.slope * logit(y_prob) + self.intercept)
        if self.method == "isotonic":
            x, y = np.array(self.knots, float).T
            # Knots are float32 scores of validation images. In float64 these images would lie
            # beside their knots, where steps are steep, and not on them as in the exported graph.
            return np.interp(y_prob.astype(np.float32), x, y)
        return y_prob

    @property
    def description(self) -> str:
        """The method and its parameters, for a report."""
        shifted = f" after a shift of the log odds by {-self.shift:+.3g}" if self.shift else ""
        return {
            "none": "none",
            "temperature": f"temperature {self.temperature:.3g}{shifted}",
            "platt": f"Platt scaling, slope {self.slope:.3g}, intercept {self.intercept:+.3g}",
            "isotonic": f"isotonic regression, {len(self.knots)} knots",
        }[self.method]

    def to_dict(self) -> dict[str, Any]:
        """Return `method` and its parameters as plain JSON values."""
        values = {name: getattr(self, name) for name in _PARAMETERS[self.method]}
        numbers = {name: np.asarray(value, float).tolist() for name, value in values.items()}
        return {"method": self.method, **numbers}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibrator":
        """Read what `to_dict` wrote; raise ConfigError when a part of it is damaged."""
        if not isinstance(values, dict) or "method" not in values:
            raise ConfigError(
                f"A calibrator must be a dict with the key method. Received: {values!r}"
            )
        method = check_choice("method", values["method"], METHODS)
        needed = {"method", *_PARAMETERS[method]}
        if method == "temperature":  # runs before the correction of priors have no shift
            values = {"shift": 0.0, **values}
        if set(values) != needed:
            raise ConfigError(
                f"A calibrator of the method {method} must have the keys "
                f"{', '.join(sorted(needed))}. Received: {', '.join(sorted(map(str, values)))}"
            )
        parameters = {name: values[name] for name in _PARAMETERS[method]}
        if "knots" in parameters:
            parameters["knots"] = _check_knots(parameters["knots"])
        return cls(method, **parameters)


def _check_knots(knots: Any) -> tuple[tuple[float, float], ...]:
    try:
        pairs = tuple(
            (check_number("knots", x, inclusive=True), check_number("knots", y, inclusive=True))
            for x, y in knots
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"knots must be pairs of numbers from 0 to 1. Received: knots={knots!r}"
        ) from error
    rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(pairs))
    if len(pairs) < 2 or not rising or (pairs[0][0], pairs[-1][0]) != (0.0, 1.0):
        raise ConfigError(
            "knots must have an x that rises from 0 to 1 and a y that never falls. "
            f"Received: knots={knots!r}"
        )
    return pairs
