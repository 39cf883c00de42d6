"""Style and files of all figures: a matplotlib figure in, PNG and SVG out.

The PNG is for the run folder. The SVG stands in a page, takes its colours and its font from there,
and so follows the light or dark setting of the reader's system.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import seaborn as sns
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from breastus.utils.files import write_aside

# templates/css/base.css has a custom property for each name. Colour-blind readers can distinguish
# orange and blue, which are from the palette of Okabe and Ito.
COLORS = {
    "lump": "#d55e00",
    "no_lump": "#0072b2",
    "ink": "#1d2430",
    "soft": "#5b6472",
    "line": "#dfe3e8",
    "tint": "#eef4fb",
    "paper": "#ffffff",
}
STYLE = {
    **sns.axes_style("whitegrid"),
    "axes.edgecolor": COLORS["line"],
    "axes.facecolor": COLORS["paper"],
    "axes.labelcolor": COLORS["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": COLORS["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": COLORS["paper"],
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": COLORS["line"],
    "legend.edgecolor": "none",
    "legend.facecolor": COLORS["paper"],
    "legend.fontsize": 9.5,
    "legend.framealpha": 0.85,
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["soft"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.color": COLORS["soft"],
    "ytick.labelcolor": COLORS["ink"],
}
# Inches. A page shows a small figure 360 to 480 pixels wide and a wide one across the page; a wide
# one is drawn a second time, narrow, for phones.
SMALL = (4.4, 3.6)
NARROW, WIDE = 4.4, 10.4
_DPI = 150
_CSS_DPI = 96  # pixels of a page in an inch


@dataclass(frozen=True)
class SavedFigure:
    """A figure as a page shows it.

    Attributes:
        png: its file in the run folder; None if the page alone shows it.
        svg: its drawing, an `<svg>` element.
        narrow: the drawing for phones, where `svg` is too wide.
    """

    png: Path | None
    svg: Markup
    narrow: Markup | None = None


def save_figure(figure: Figure, path: Path, *, narrow: Figure | None = None) -> SavedFigure:
    """Write a figure as PNG and return it for a page; `narrow` is the same, drawn for phones."""
    # Canvases draw once and place the axes on the way; `Figure.savefig` draws twice for each file.
    figure.set_dpi(_DPI)
    with write_aside(path) as aside:
        FigureCanvasAgg(figure).print_png(aside)
    figure.set_layout_engine("none")
    drawn = to_svg(narrow, f"{path.stem}-narrow") if narrow else None
    return SavedFigure(path, to_svg(figure, path.stem), drawn)


def to_svg(figure: Figure, name: str) -> Markup:
    """Return a figure as an `<svg>` element whose colours are custom properties of the page.

    `name` keeps the ids of its parts unique on a page.
    """
    buffer = io.StringIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_facecolor("none")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    # A figure grows by a fifth at most, so that letters are of one size on a page.
    limit = round(figure.get_figwidth() * _CSS_DPI * 1.2)
    root = rf'<svg viewBox="\1" style="max-width: {limit}px">'
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', root, svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*;? ?|'DejaVu Sans'(, [^;\"]*)?", "", svg)
    svg = svg.replace("xlink:href", "href")
    referred = set(re.findall(r"#([\w.-]+)[\")]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in referred else "", svg)
    for color, value in COLORS.items():
        svg = svg.replace(value, f"var(--{color.replace('_', '-')})")
    return Markup(re.sub(r"\n\s*", "\n", svg))
