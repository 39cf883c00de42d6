"""Logistic regression of the label on one logit, with a positive slope and a prior around identity.

A positive slope keeps the order of the images, and with it the ROC-AUC. scikit-learn's
LogisticRegression has neither bounds nor a penalty around a slope of 1.
"""

import numpy as np

TINY = 1e-12  # lower bound of a probability before its logarithm, as in the exported graph
SLOPES = (0.05, 20.0)  # inverse of the bounds of the temperature; beyond them the fit has failed


def logit(y_prob: np.ndarray) -> np.ndarray:
    """Return log(p) - log(1 - p) with both clipped at 1e-12: finite, -27.7 to 27.7."""
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
    """Return slope and intercept of the best fitting sigmoid(slope * z + intercept).

    They minimize the weighted sum of cross-entropies plus penalty / 2 times the squares of
    `slope - 1` and `intercept`: normal priors, with the inverse penalty as variance, around leaving
    the logits as they are. The sum is convex.

    Args:
        logits, targets: finite, and 0 to 1, [n]; not separable if there is no penalty.
        weights: weight of each image, [n].
        penalties: penalties of `slope - 1` and of `intercept`, 0 or more.
        slope: fixed slope; None fits it within 0.05 and 20. It is fixed at 1 when all logits are
            equal.
    """
    from scipy.optimize import minimize

    logits, targets = np.asarray(logits, float), np.asarray(targets, float)
    weights = np.asarray(weights, float) if weights is not None else np.ones(len(logits))
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
        prob = sigmoid(line @ design)
        return (design * (weights * prob * (1 - prob))) @ design.T + np.diag(penalties)

    fit = minimize(
        loss,
        identity,
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-9 * max(1.0, weights.sum()), "maxiter": 1000},
    )
    if not SLOPES[0] <= fit.x[0] <= SLOPES[1]:
        # The sum is convex, so its minimum within bounds is at the bound that was crossed.
        bound = float(np.clip(fit.x[0], *SLOPES))
        return bound, _fit_intercept(bound * logits, targets, weights, penalties[1])
    return float(fit.x[0]), float(fit.x[1])


def _fit_intercept(scores, targets, weights, penalty) -> float:
    from scipy.optimize import brentq

    def gradient(intercept):
        return (weights * (sigmoid(scores + intercept) - targets)).sum() + penalty * intercept

    reach = 50 + np.abs(scores).max()  # every sigmoid is 0 or 1 there
    return float(brentq(gradient, -reach, reach, xtol=1e-12))
