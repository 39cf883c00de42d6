"""How every figure looks: colours and matplotlib settings."""

import seaborn as sns

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = {"lump": "#D55E00", "no_lump": "#0072B2", "grey": "#8a8f98"}
STYLE = {
    **sns.axes_style("whitegrid"),
    "grid.color": "#e8eaed",
    "axes.edgecolor": "#b8bcc4",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
