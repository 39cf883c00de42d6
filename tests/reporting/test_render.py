"""Templates: values are escaped and formatted in one place, and the templates are installed."""

import math
import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
from setuptools import Distribution

from breastus.evaluation.comparison.baselines import FOLDER
from breastus.reporting import format as form
from breastus.reporting.render import TEMPLATES, environment, render, sentence

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG"


def test_a_page_escapes_what_it_is_given_and_links_to_nothing_outside():
    html = render("base.html.j2", title="<b>", notices=["1 < 2"])
    assert "<h1>&lt;b&gt;</h1>" in html
    assert "1 &lt; 2" in html
    assert "not a medical device" in html
    for outside in ("<script", "<link", "http:", "https:", "url("):
        assert outside not in html


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="notices"):
        render("base.html.j2", title="a page")


def test_text_is_not_escaped_and_comes_in_one_line():
    assert sentence("text/disclaimer.txt.j2").startswith("Research software")
    assert "\n" not in sentence("text/disclaimer.txt.j2")
    made = environment()
    assert made.autoescape("page.html.j2") is True
    assert made.autoescape("text/verdict.txt.j2") is False


def test_macros_make_sections_that_the_contents_link_to():
    source = (
        '{% import "macros.html.j2" as ui %}{% set contents = [] %}'
        '{% call ui.section(contents, "A & B", "A sentence.") %}'
        '{{ ui.table(["", "n"], [["<i>", "1"]]) }}{% endcall %}'
        "{{ ui.contents_list(contents) }}"
    )
    ours = jinja2.DictLoader({"page.html.j2": source})
    page = environment().overlay(loader=jinja2.ChoiceLoader([environment().loader, ours]))
    html = page.get_template("page.html.j2").render()
    assert '<h2 id="a-b">A &amp; B</h2>' in html
    assert '<a href="#a-b">A &amp; B</a>' in html
    assert "<td>&lt;i&gt;</td>" in html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (form.number(0.934), "0.93"),
        (form.number(-0.5), "−0.50"),
        (form.number(None), "undefined"),
        (form.number(math.nan), "undefined"),
        (form.signed(0.251), "+0.25"),
        (form.signed(-0.251), "−0.25"),
        (form.signed(-0.001), "0.00"),
        (form.signed(None), "undefined"),
        (form.short(0.123456), "0.123"),
        (form.percent(0.934), "93 %"),
        (form.percent(0.004), "0.4 %"),
        (form.percent(None), "undefined"),
        (form.points(-0.034), "−3"),
        (form.span([0.2, 0.2]), "0.2"),
        (form.span([0.2, 0.4]), "0.2 to 0.4"),
        (form.count(1, "image"), "1 image"),
        (form.count(12345, "image"), "12,345 images"),
        (form.count(513.66, "lump"), "513.7 lumps"),
        (form.count(2, "study", "studies"), "2 studies"),
        (form.words("no_lump"), "no lump"),
        (form.listed([]), ""),
        (form.listed(["a"]), "a"),
        (form.listed(["a", "b", "c"]), "a, b and c"),
        (form.slug("Decision curve (net benefit)"), "decision-curve-net-benefit"),
        (form.nested({"a": 1, "b": {"c": 2}}), "a: 1\nb:\n  c: 2"),
        (form.data_uri(b"\xff\xd8"), "data:image/jpeg;base64,/9g="),
        (form.data_uri(PNG), "data:image/png;base64,iVBORw=="),
    ],
)
def test_values_are_written_one_way(text, expected):
    assert text == expected


@pytest.mark.parametrize(
    ("entry", "interval", "bounds"),
    [
        ((0.9, 0.8, 0.95), "0.90 (0.80 to 0.95)", "0.80 to 0.95"),
        ((0.9, 0.9, 0.9), "0.90 (no spread)", "no spread"),
        ((0.9, math.nan, math.nan), "0.90", "no interval"),
        ((0.9, None, None), "0.90", "no interval"),
        ((None, None, None), "undefined", "no interval"),
    ],
)
def test_an_interval_says_why_it_is_not_there(entry, interval, bounds):
    entry = dict(zip(("value", "ci_low", "ci_high"), entry, strict=True))
    assert form.interval(entry) == interval
    assert form.bounds(entry) == bounds
    assert form.percent_interval({"value": 0.9, "ci_low": 0.8, "ci_high": 1}) == (
        "90 % (80 to 100 %)"
    )


def test_a_calibration_error_of_chance_shows_its_noise_instead():
    entry = {"value": 0.001, "ci_low": 0.0, "ci_high": 0.05, "noise": 0.04}
    assert form.interval(entry) == "not distinguishable from 0 (0.00 to 0.05; noise 0.04)"
    entry |= {"value": 0.1, "ci_low": 0.06, "ci_high": 0.14}
    assert form.interval(entry) == "0.10 (0.06 to 0.14; noise 0.04)"


def test_every_template_can_be_compiled():
    names = environment().list_templates()
    assert "css/base.css" in names
    for name in names:
        environment().get_template(name)


def test_templates_and_baselines_are_part_of_the_installed_package(monkeypatch):
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    command = distribution.get_command_obj("build_py")
    command.ensure_finalized()
    shipped = {
        os.path.join(folder, file) for _, folder, _, files in command.data_files for file in files
    }
    files = [*TEMPLATES.rglob("*"), *FOLDER.glob("*.csv")]
    there = {str(path.relative_to(ROOT)) for path in files if path.is_file()}
    assert there <= shipped


def test_pages_do_not_load_tensorflow():
    code = (
        "import sys, breastus.evaluation.predictions, breastus.reporting.report\n"
        "from breastus.reporting import audit_page, check_page, model_card\n"
        "sys.exit(', '.join({'tensorflow', 'keras'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
