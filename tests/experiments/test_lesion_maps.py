"""The section of RESULTS.md about lesion maps, from a record of the form that is written."""

from experiments.benchmarks import lesion_maps


def test_the_section_shows_each_run_on_each_data_set_and_its_checks():
    entry = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    names = ("pointing_game", "centre_pointing_game", "pointing_game_difference")
    part = {"method": "grad_cam", "n": 12, **dict.fromkeys((*names, "mass", "centre_mass"), entry)}
    checks = {
        "occlusion": {"images": 8, "correlation": 0.21},
        "randomization": [{"layers": 1, "of": 4, "correlation": -0.3}],
    }
    parts = {"BUSI, test images": {**part, **checks}, "BUS-UCLM": {**part, "n": 79}}
    runs = [{"network": "compact", "side": 224, "parts": parts}]
    text = lesion_maps.section({"code_version": "1", "facts": {}, "runs": runs})
    assert "| compact, 224 | grad_cam | BUS-UCLM | 79 | 0.50 (0.40 to 0.60) |" in text
    assert "| compact, 224 | 0.21 | -0.30 (1 of 4) |" in text
