"""README and docs: links lead somewhere, and every repeated number is in the records."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

import breastus
from breastus.cli.networks import NETWORKS
from breastus.config.parsing import describe_settings
from breastus.config.presets import default_config

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "models/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
SCORE = re.compile(r"\b0\.\d\d \(0\.\d\d to [01]\.\d\d\)")
# Measured from outside, on images that are kept apart; no record can hold it.
OUTSIDE = "0.78 (0.71 to 0.84)"
# README row: (section of RESULTS.md, its table, start of its row)
ROWS = {
    "`make train`, BUSI, 3 seeds": ("networks", 0, "efficientnet_lite0, 3 seeds"),
    "`make train-best`, BUSI, out of fold, 5 seeds": ("best", 0, "efficientnet_cells"),
    "logistic regression on frozen features and cells, BUSI": ("baselines", 0, "frozen, both"),
    "`make train-cnn`, BUSI, 3 seeds": ("study", 0, "cnn-group-plain, 3 seeds"),
    "the study's CNN as published, random split": ("study", 0, "published study, cnn, plain"),
}


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_readme_counts_the_networks():
    assert f"| {len(NETWORKS)}, from a CNN" in (ROOT / "README.md").read_text()


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, _ = link.partition("#")
        if target and not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scores_are_in_the_records(page):
    records = (ROOT / "experiments" / "RESULTS.md").read_text()
    for score in SCORE.findall(page.read_text()):
        assert score == OUTSIDE or score in records, score


def test_readme_rows_are_those_of_the_records(hooks):
    shown = {row[0]: row[1:] for row in rows((ROOT / "README.md").read_text()) if len(row) == 4}
    assert len(shown) - 2 <= 6  # without head and rule
    for name, (section, table, start) in ROWS.items():
        head, _, *body = rows(hooks.tables(hooks.section("results", section))[table])
        (record,) = [row for row in body if row[0].startswith(start)]
        columns = [head.index(title) for title in ("ROC-AUC", "sensitivity", "specificity")]
        assert shown[name] == [record[column] for column in columns], name


def test_times_are_those_of_the_records(hooks):
    head, _, *body = rows(hooks.tables(hooks.section("results", "networks"))[1])
    (row,) = [row for row in body if row[0] == "efficientnet_lite0"]
    epochs, seconds = row[head.index("epochs")], float(row[head.index("seconds an epoch")])
    assert f"{epochs} epochs of {seconds:.0f} s" in (ROOT / "README.md").read_text()
    page, bench = ((ROOT / name).read_text() for name in ("docs/performance.md", hooks.BENCH))
    found = re.findall(r"\d\.\d\d times", page)
    assert found
    assert all(times in bench for times in found)


def test_every_marker_is_filled(hooks):
    for page in (ROOT / "docs").glob("*.md"):
        assert "<!--" not in hooks.on_page_markdown(page.read_text()), page.name
    with pytest.raises(ValueError, match="no section nothing"):
        hooks.on_page_markdown("<!-- results: nothing -->")


def test_the_api_page_has_every_public_name():
    listed = re.findall(r"<!-- api: (.+?) -->", (ROOT / "docs" / "api.md").read_text())
    names = " ".join(listed).split()
    assert sorted(names) == sorted(set(breastus.__all__) - {"__version__"})


def test_sections_of_the_report_are_called_so():
    folder = ROOT / "breastus" / "reporting"
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".py", ".j2")]
    page = (ROOT / "docs" / "report.md").read_text()
    names = [row[0] for row in rows(page[: page.index("## Other")]) if len(row) == 3]
    for name in names[3:]:  # after the head and the verdict
        assert any(name in text for text in texts), name


def test_every_page_is_in_the_menu():
    # Tags of MkDocs' own, such as `!ENV`, are not needed here.
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    menu = set(re.findall(r"[\w-]+\.md", str(nav)))
    assert menu == {page.name for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page):
    known = {info.name for info in describe_settings(default_config("cnn"))}
    sections = "|".join(sorted({name.partition(".")[0] for name in known} - {"seed"}))
    text = page.read_text()
    files = (".md", ".py", ".csv", ".keras", ".onnx", ".tflite", ".signatures")
    for name in re.findall(rf"(?<![\w/.])(?:{sections})\.[a-z_]+(?=[`=,)\s])", text):
        assert name in known or name.endswith(files), name
