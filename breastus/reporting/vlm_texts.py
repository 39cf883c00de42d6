"""What a vision-language model answered, and what its controls say, in sentences."""

from typing import Any

import pandas as pd

from breastus.reporting.render import render, sentence


def answers_summary(table: pd.DataFrame) -> str:
    """Return how many images were labelled lump, and how many texts abstain, in one line."""
    stated = table[table["text_label"] != ""]
    counts = {
        "images": len(table),
        "lump": int((table["predicted"] == "lump").sum()),
        "texts": int(table["abstained"].notna().sum()),
        "abstentions": int(table["abstained"].dropna().astype(bool).sum()),
        "contradictions": int((stated["text_label"] != stated["predicted"]).sum()),
    }
    return sentence("text/vlm_answers.txt.j2", mass=table["answer_mass"].mean(), **counts)


def check_summary(check: Any) -> str:
    """Return the facts of a `VlmCheck` in a few lines."""
    return render("text/vlm_check.txt.j2", check=check, gib=2**30).strip()


def controls_summary(controls: dict[str, Any]) -> str:
    """Return the verdict of the controls, and one line for each; see `run_controls`."""
    return render("text/vlm_controls.txt.j2", controls=controls).strip()
