"""Near-duplicates and annotation flags: how many are found

Near-duplicates are counted on BUSI and searched among altered phantoms. Flags are compared with
INFO.csv of BUS-UCLM, with the published Doppler images of BUSI, and with marks drawn on phantoms.
Intervals are 95 % Wilson intervals.

    python -m experiments.benchmarks.data_checks --data path/to/folder

The folder holds `busi` and `bus_uclm_sample`. It records what it measures in `records/curation/`;
`python -m experiments.results` writes the tables. Two cores: about a minute.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from breastus.config.schema import DataConfig
from breastus.data.annotations.flags import annotation_flags
from breastus.data.images import ImageFile
from breastus.data.manifest.build import load_manifest
from breastus.data.near_duplicates.search import fingerprint, near_duplicates
from breastus.data.sources import bus_uclm, busi
from breastus.data.splits.make import make_splits
from breastus.evaluation.intervals.proportions import wilson_interval
from experiments.benchmarks.search_scaling import THRESHOLD
from experiments.pages import fact_list, facts_here, run_script, table, title_and_text
from experiments.records import measurement_facts, write_measurement
from tests.helpers import drawing

EXPERIMENT = "curation"
PLACES = [(150, 200), (300, 260)]
PHANTOMS = 200
# Name: the flag, and a function of a scan and another scan that draws the mark.
MARKS = {
    "calipers, +": ("caliper", lambda x, _: drawing.plus(x, PLACES)),
    "calipers, x": ("caliper", lambda x, _: drawing.slanted(x, PLACES)),
    "calipers, open, yellow": ("caliper", lambda x, _: drawing.open_plus(x, PLACES)),
    "calipers, +, as JPEG": ("caliper", lambda x, _: drawing.jpeg(drawing.plus(x, PLACES))),
    "text": ("text", lambda x, _: drawing.letters(x, "RT BREAST 10:30", (12, 300))),
    "flow": ("color_doppler", lambda x, _: drawing.flow(x, (200, 200))),
    "two views, black gap": ("dual_view", lambda x, y: drawing.side_by_side(x, y, gap=12)),
    "two views, abutting": ("dual_view", lambda x, y: drawing.side_by_side(x, y)),
    "body marker": ("body_marker", lambda x, _: drawing.panel(x)),
}
UNMARKED = {
    "unmarked": lambda x: x,
    "unmarked, tinted": drawing.tinted,
    "unmarked, much brighter": lambda x: np.clip(x * 1.5 + 20, 0, 255).astype(np.uint8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds busi and bus_uclm_sample")
    args = parser.parse_args()
    found = {
        "facts": facts_here("python -m experiments.benchmarks.data_checks --data ..."),
        "busi": busi_near_duplicates(args.data / "busi"),
        "altered": altered_phantoms(PHANTOMS),
        "patients": flags_on_patients(args.data),
        "phantoms": flags_on_phantoms(PHANTOMS),
    }
    write_measurement(EXPERIMENT, found)


def section(record: dict) -> str:
    """Return the text of the section `curation` of RESULTS.md."""
    lines = [
        *title_and_text(__doc__),
        "",
        *fact_list(measurement_facts(EXPERIMENT, record)),
        *_busi_lines(record["busi"]),
        *_altered_lines(record["altered"]),
        *_patient_lines(record["patients"]),
        *_phantom_lines(record["phantoms"]),
    ]
    return "\n".join(lines)


def busi_near_duplicates(folder: Path) -> dict[str, float]:
    """Prepare BUSI; return its seconds and the number of near-duplicates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        make_splits(load_manifest(folder))
        seconds = time.perf_counter() - start
        manifest = load_manifest(folder, settings=DataConfig(known_faults=False))
    prints = np.stack([fingerprint(ImageFile.read(path).pixels) for path in manifest["path"]])
    pairs = len(near_duplicates(prints, threshold=THRESHOLD).first)
    sizes = manifest["group_id"].value_counts()
    contradicting = manifest[manifest["excluded"].str.startswith("contradiction")]
    return {
        "images": len(manifest),
        "seconds": seconds,
        "pairs": pairs,
        "groups": int((sizes > 1).sum()),
        "in_groups": int(sizes[sizes > 1].sum()),
        "contradicting": contradicting["group_id"].nunique(),
    }


def _busi_lines(found: dict[str, float]) -> list[str]:
    counts = [found[name] for name in ("pairs", "groups", "in_groups", "contradicting")]
    return [
        "",
        f"Preparing BUSI (`load_manifest` and `make_splits`, {found['images']} images, everything "
        f"below included): {found['seconds']:.0f} seconds.",
        "",
        "Near-duplicates of BUSI. Only counts are compared, because the published table of pairs "
        "was not available; recall and precision against it are not measured here. The threshold "
        "was chosen on BUSI, so the number of groups agrees by choice.",
        "",
        *table(
            ["", "pairs", "groups", "images in groups", "contradicting groups"],
            [
                ["found here", *counts],
                ["Pawlowska et al. 2023, by eye", "not available", 153, 346, 8],
            ],
        ),
    ]


def altered_phantoms(count: int) -> dict:
    """Search phantoms and their altered copies; return how many of each alteration are found.

    `found` is by alteration; of all `pairs` found, `right` show one phantom.
    """
    scans = [drawing.phantom_scan(11, index) for index in range(count)]
    prints = np.stack([fingerprint(scan) for scan in scans])
    each, right, total = {}, 0, 0
    for name, alter in drawing.ALTERATIONS.items():
        copies = np.stack([fingerprint(alter(scan)) for scan in scans])
        pairs = near_duplicates(np.concatenate([prints, copies]), threshold=THRESHOLD)
        found = int((pairs.second - pairs.first == count).sum())
        right, total = right + found, total + len(pairs.first)
        each[name] = found
    return {"count": count, "found": each, "right": right, "pairs": total}


def _altered_lines(found: dict) -> list[str]:
    count, right, total = (found[name] for name in ("count", "right", "pairs"))
    rows = [[name, one, count, _share(one, count)] for name, one in found["found"].items()]
    return [
        "",
        f"Near-duplicates of {count} phantoms, each with one altered copy, at the threshold "
        f"{THRESHOLD}. Of all {total} pairs found, {right} show one phantom: precision "
        f"{_share(right, total)}.",
        "",
        *table(["altered", "found", "of", "recall"], rows),
    ]


def flags_on_patients(folder: Path) -> dict:
    """Compare flags with what is published about two data sets.

    Returns:
        `bus_uclm` and `busi`: flag to counts as from `rates`; `dual_views`, flagged in BUSI.
    """
    flagged = {
        name: [
            (set(image.flags), set(annotation_flags(ImageFile.read(image.path).pixels)))
            for image in source.read(folder / name).images
        ]
        for name, source in (("bus_uclm_sample", bus_uclm), ("busi", busi))
    }
    flags = ("caliper", "color_doppler", "dual_view")
    return {
        "bus_uclm": {flag: rates(flag, flagged["bus_uclm_sample"]) for flag in flags},
        "busi": {"color_doppler": rates("color_doppler", flagged["busi"])},
        "dual_views": sum("dual_view" in found for _, found in flagged["busi"]),
    }


def _patient_lines(found: dict) -> list[str]:
    rows = [
        [where, flag, _share(*counts[:2]), _share(*counts[2:])]
        for where, key in (
            ("BUS-UCLM sample, INFO.csv", "bus_uclm"),
            ("BUSI, published Doppler images", "busi"),
        )
        for flag, counts in found[key].items()
    ]
    rows += [
        ["BUSClean, own hospital", "caliper", "0.967", "0.933"],
        ["BUSClean, another hospital, not adapted", "caliper", "0.43", "not given"],
        ["BUSClean, own hospital", "colour modes", "1.000", "0.995"],
        ["BUSClean, own hospital", "dual view", "1.000", "0.986"],
    ]
    return [
        "",
        "Flags compared with published information. The intervals treat images of one patient as "
        "independent, which they are not. The rules were set on these images, so a third hospital "
        "may give lower values. The last rows are the values that BUSClean reports for its own "
        "images (PLoS ONE 19(12), e0315434). The sample has no dual view, so only false ones can "
        "be counted there. For BUSI nothing is published; dual_view is set on "
        f"{found['dual_views']} images.",
        "",
        *table(["", "flag", "sensitivity", "specificity"], rows),
    ]


def flags_on_phantoms(count: int) -> dict:
    """Set flags on marked and on unmarked phantoms.

    Returns:
        `count`; `marked`, name of a mark to the number with its flag; `clear` and `flags`, name of
        a change to the number without any flag, and to the flags that were set.
    """
    # The rules were set on phantoms of seed 12; these are others.
    scans = [drawing.phantom_scan(21, index) for index in range(count)]
    others = scans[1:] + scans[:1]
    marked = {
        name: sum(flag in annotation_flags(mark(*pair)) for pair in zip(scans, others, strict=True))
        for name, (flag, mark) in MARKS.items()
    }
    clear, flags = {}, {}
    for name, change in UNMARKED.items():
        found = [annotation_flags(change(scan)) for scan in scans]
        flags[name] = sorted({flag for one in found for flag in one})
        clear[name] = sum(not one for one in found)
    return {"count": count, "marked": marked, "clear": clear, "flags": flags}


def _phantom_lines(found: dict) -> list[str]:
    count = found["count"]
    marked = [[name, MARKS[name][0], _share(one, count)] for name, one in found["marked"].items()]
    unmarked = [
        [name, _share(one, count), ", ".join(found["flags"][name]) or "none"]
        for name, one in found["clear"].items()
    ]
    return [
        "",
        f"Flags on {count} phantoms with drawn marks. The rules were set on other phantoms with "
        "the same marks.",
        "",
        *table(["marked with", "flag", "sensitivity"], marked),
        "",
        *table(["", "without any flag", "flags"], unmarked),
    ]


def rates(flag: str, images: list[tuple[set, set]]) -> list[int]:
    """Return the counts behind sensitivity and specificity of a flag.

    They are [flagged, of the images that carry it, not flagged, of the others].

    Args:
        flag: name of the flag.
        images: known flags and found flags of each image.
    """
    marked = [found for known, found in images if flag in known]
    clear = [found for known, found in images if flag not in known]
    return [
        sum(flag in found for found in marked),
        len(marked),
        sum(flag not in found for found in clear),
        len(clear),
    ]


def _share(part: int, whole: int) -> str:
    if not whole:
        return "no image"
    low, high = wilson_interval(part, whole)
    return f"{part / whole:.3f} ({low:.3f} to {high:.3f}; {part} of {whole})"


if __name__ == "__main__":
    run_script(main)
