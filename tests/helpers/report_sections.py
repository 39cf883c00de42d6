"""Sections of a report, each rendered alone."""

from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.metrics.subgroups import SCORES
from breastus.reporting.render import render
from breastus.reporting.texts import change_of, few_groups, robustness_facts, robustness_summary


def section(name, **values):
    """Return the HTML of a section, without its figures."""
    shared = {"contents": [], "figures": {}, "level": "95 %", "definitions": METRICS}
    return " ".join(render(f"report/{name}.html.j2", **shared, **values).split())


def robustness_section(found):
    facts = {"robustness_summary": robustness_summary(found), **robustness_facts(found)}
    return section("robustness", robustness=found, **facts)


def recalibration_section(trial, *, patients_known):
    changes = {name: change_of(trial, name) for name in trial["difference"]}
    facts = {"few_groups": few_groups(trial), "patients_known": patients_known}
    return section("recalibration", recalibration=trial, changes=changes, **facts)


def metrics_section(name, **metrics):
    return section(name, metrics=metrics, subgroup_scores=SCORES)
