"""Logistic regression of the truth on one logit: a slope, kept above zero, and an intercept.

A slope above zero keeps the order of the images, so ROC-AUC and every threshold's meaning stay.
"""

import numpy as np

TINY = 1e-12  # probabilities are kept off zero before their logarithm, as in the exported graph
SLOPES = (0.05, 20.0)  # one over the bounds of the temperature; beyond them the fit went wrong


def logit(y_prob: np.ndarray) -> np.ndarray:
    """Return log(p) - log(1 - p), both kept off zero by 1e-12: finite, within -27.7 and 27.7."""
    y_prob = np.asarray(y_prob, float)
    return np.log(np.maximum(y_prob, TINY)) - np.log(np.maximum(1 - y_prob, TINY))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)), without overflow."""
    from scipy.special import expit

    return expit(np.asarray(logits, float))


def fit_logistic(
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    penalties: tuple[float, float] = (0.0, 0.0),
    slope: float | None = None,
) -> tuple[float, float]:
    """Return the slope and intercept of sigmoid(slope * z + intercept) that fit best.

    The lowest sum of weighted cross-entropies, plus half of penalty times square for `slope - 1`
    and for `intercept`: a normal prior around leaving the logits as they are, with one over the
    penalty for variance. The sum is convex, so there is one lowest.

    Args:
        logits: [n], finite.
        targets: [n], 0 to 1; without penalties they must not be separable, as no fit is finite.
        weights: [n], how much each image counts; None counts each once.
        penalties: of `slope - 1` and of `intercept`, 0 or more.
        slope: a slope to hold; None fits it, within 0.05 and 20. Where all logits are equal it is
            held at 1, as nothing tells it from the intercept.
    """
    from scipy.optimize import minimize

    logits, targets = np.asarray(logits, float), np.asarray(targets, float)
    weights = np.ones(len(logits)) if weights is None else np.asarray(weights, float)
    penalties = np.asarray(penalties, float)
    if slope is None and np.ptp(logits) == 0:
        slope = 1.0
    if slope is not None:
        return float(slope), _fit_intercept(slope * logits, targets, weights, penalties[1])

    design = np.stack([logits, np.ones(len(logits))])
    identity = np.array([1.0, 0.0])

    def loss(line):
        score = line @ design
        off = line - identity
        return (weights * (np.logaddexp(0, score) - targets * score)).sum() + off**2 @ penalties / 2

    def gradient(line):
        return design @ (weights * (sigmoid(line @ design) - targets)) + penalties * (
            line - identity
        )

    def curvature(line):
        said = sigmoid(line @ design)
        return (design * (weights * said * (1 - said))) @ design.T + np.diag(penalties)

    fit = minimize(
        loss,
        identity,
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-9 * max(1.0, weights.sum()), "maxiter": 1000},
    )
    if not SLOPES[0] <= fit.x[0] <= SLOPES[1]:
        # The sum is convex, so within bounds the lowest lies on the bound that was crossed.
        held = float(np.clip(fit.x[0], *SLOPES))
        return held, _fit_intercept(held * logits, targets, weights, penalties[1])
    return float(fit.x[0]), float(fit.x[1])


def _fit_intercept(scores, targets, weights, penalty) -> float:
    from scipy.optimize import brentq

    def gradient(intercept):
        return (weights * (sigmoid(scores + intercept) - targets)).sum() + penalty * intercept

    reach = 50 + np.abs(scores).max()  # every sigmoid is 0 or 1 there, to the last digit
    return float(brentq(gradient, -reach, reach, xtol=1e-12))
