"""From a template and values to a page or a sentence.

    page = render("report/report.html.j2", title=..., metrics=...)
    text = sentence("text/counts.txt.j2", metrics=metrics)

Templates lie in `breastus/reporting/templates`. Those named `*.html.j2` escape every value that is
not `Markup`; the others hold plain text and escape nothing. A value that a template uses and that
is not given is an error.
"""

import functools
import re
from pathlib import Path
from typing import Any

import jinja2

from breastus.reporting.format import FILTERS

TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def environment() -> jinja2.Environment:
    """Return the Jinja environment of all pages; it reads a template when it is first used."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(("html.j2",), default_for_string=False, default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters |= FILTERS
    made.tests["undefined_value"] = FILTERS["is_undefined"]
    return made


def render(template: str, /, **values: Any) -> str:
    """Return a filled template; `template` is its path below the templates."""
    text = environment().get_template(template).render(**values)
    # A number and its per cent sign stay on one line.
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text) if ".html" in template else text


def sentence(template: str, /, **values: Any) -> str:
    """Return a filled text template as one line, however the template breaks it."""
    return " ".join(render(template, **values).split())


def lines(template: str, /, **values: Any) -> list[str]:
    """Return the lines of a filled text template, without empty ones."""
    return [" ".join(line.split()) for line in render(template, **values).splitlines() if line]
