"""Lesion maps: how often their brightest place lies in the lesion

The maps of each run on its own test images with a mask, and on BUS-UCLM, another hospital. The
centre of the image is the baseline; its difference is paired. "Mass" is the share of the map in the
lesion. Intervals are over scenes and patients, of one trained model. Occlusion is the mean rank
correlation of a map with the fall of the log odds when a part is hidden; randomised is its rank
correlation with the map of the network whose layers have no trained weights.

    python -m experiments.benchmarks.lesion_maps --data path/to/folder --runs RUN...

The folder holds `bus_uclm_sample`. It records what it measures in `records/lesion-maps/`, and
`python -m experiments.results` writes the tables.
"""

import argparse
from pathlib import Path

from breastus.runs.run import Run
from breastus.utils.files import jsonable
from breastus.workflows.explain import external_lesion_maps, measure_lesion_maps
from experiments.pages import fact_list, facts_here, format_score, run_script, table, title_and_text
from experiments.records import measurement_facts, write_measurement

EXPERIMENT = "lesion-maps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="finished runs on BUSI")
    parser.add_argument("--data", type=Path, required=True, help="holds bus_uclm_sample")
    args = parser.parse_args()
    facts = facts_here("python -m experiments.benchmarks.lesion_maps --data ... --runs ...")
    found = []
    for path in args.runs:
        run = Run.load(path)
        parts = {"BUSI, test images": run.read_explanation() or measure_lesion_maps(run)}
        parts["BUS-UCLM"] = external_lesion_maps(run, args.data / "bus_uclm_sample")
        for part in parts.values():
            del part["images"]  # scores of each image
        model = run.config.model
        found.append({"network": model.name, "side": model.image_size, "parts": parts})
    write_measurement(EXPERIMENT, {"facts": facts, "runs": jsonable(found)})


def section(record: dict) -> str:
    """Return the text of the section `lesion-maps` of RESULTS.md."""
    rows, checks = [], []
    for run in record["runs"]:
        name = f"{run['network']}, {run['side']}"
        for data, part in run["parts"].items():
            scores = [
                format_score(part[score])
                for score in ("pointing_game", "centre_pointing_game", "pointing_game_difference")
            ]
            masses = [format_score(part[score]) for score in ("mass", "centre_mass")]
            rows.append([name, part["method"], data, part["n"], *scores, *masses])
            if "occlusion" in part:
                steps = ", ".join(
                    f"{step['correlation']:.2f} ({step['layers']} of {step['of']})"
                    for step in part["randomization"]
                )
                checks.append([name, f"{part['occlusion']['correlation']:.2f}", steps])
    scores = ["pointing game", "centre", "difference", "mass", "mass of the centre"]
    lines = [
        *title_and_text(__doc__),
        "",
        *fact_list(measurement_facts(EXPERIMENT, record)),
        "",
        *table(["network, pixels", "map", "images", "number", *scores], rows),
        "",
        "Checks on eight of the test images; in brackets, the layers randomised from the top:",
        "",
        *table(["network, pixels", "occlusion", "randomised"], checks),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
