"""The model card: bundle.json in, Markdown out."""

from typing import Any

from breastus.reporting import texts
from breastus.reporting.facts import ModelFacts
from breastus.reporting.notices import notices
from breastus.reporting.render import render

_SCORES = {
    "sensitivity": "Sensitivity (lumps found)",
    "specificity": "Specificity (images without a lump cleared)",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "f1": "F1 of lump",
    "roc_auc": "ROC-AUC",
    "pr_auc_lump": "PR-AUC of lump",
    "pr_auc_no_lump": "PR-AUC of no lump",
}
# As their listings state; citations are in breastus/data/sources/.
_LICENCES = {
    "busi": "CC0 according to its listing on Kaggle; cite Al-Dhabyani et al. 2020, Data in Brief "
    "28, 104863",
    "bus_uclm": "CC BY 4.0; cite Vallez et al. 2025, Scientific Data 12, 242",
    "bus_bra": "CC BY 4.0; cite Gomez-Flores et al. 2024, Medical Physics 51, 3110-3123",
    "breast_usg": "CC BY 4.0; cite Pawlowska et al. 2024, Scientific Data 11, 148",
    "udiat": "none, shared on a signed agreement; cite Yap et al. 2018, IEEE Journal of Biomedical "
    "and Health Informatics 22, 1218-1226",
}


def model_card(info: dict[str, Any]) -> str:
    """Return the card of a bundle from the content of its bundle.json."""
    recalibration = info.get("recalibration")
    phantom = info["trained_on"]["phantom"]
    metrics = {"simulated": {"training": phantom, "test": phantom and not recalibration}}
    metrics |= info["metrics"]
    sources = [f"{name} ({count})" for name, count in info["trained_on"]["sources"].items()]
    return render(
        "model_card.md.j2",
        info=info,
        notices=notices(ModelFacts.of_bundle(info)),
        discrimination=texts.discrimination(metrics),
        counts=texts.counts(metrics),
        sources=", ".join(sources),
        referral=_referral(info),
        recalibration=recalibration,
        test_scoring=None if recalibration else info.get("test_scoring"),
        licences=_LICENCES,
        scores=_SCORES,
        findings=info.get("findings"),
        test=info["metrics"]["test"],
    )


def _referral(info: dict[str, Any]) -> dict[str, Any] | None:
    """Return which probabilities are referred to a reader; None if the bundle refers none.

    Returns:
        `low` and `high`, the ends of their range; `always`, whether every image is referred; and
        `disagrees`, whether some are referred because the threshold contradicts the sets.
    """
    if (sets := info.get("conformal")) is None:
        return None
    bounds = sets["lump_from"], sets["no_lump_to"]
    low, middle, high = sorted((*bounds, info["threshold"]))
    disagrees = middle != info["threshold"]
    return {"low": low, "high": high, "always": bounds == (0, 1), "disagrees": disagrees}
