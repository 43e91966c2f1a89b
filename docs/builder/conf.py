"""Sphinx's settings. build.py writes the sources and passes this folder with -c."""

import json
import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

BUILDER = Path(__file__).resolve().parent
sys.path.insert(0, str(BUILDER))
PALETTES = json.loads(os.environ["PALETTES"])
"""Colours of the figures' theme, "light" and "dark", from build.py: the package takes seconds to import."""

project = "tapetum"
author = "The tapetum contributors"
copyright = author
release = version = version_of("tapetum")
language = "en"

extensions = ["myst_nb", "mathml", "navigation"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nitpicky = True
nitpick_ignore_regex = [("py:(class|data|attr)", ".*")]  # the types in signatures, mostly other libraries'
smartquotes = False
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks.py has run them
nb_merge_streams = True

html_theme = "furo"
html_title = "tapetum"
html_static_path = [str(BUILDER.parent / "static")]
html_css_files = ["tapetum.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # fetched from pages, which browsers forbid for local files
html_math_renderer = "mathml"


def _colors(palette: dict[str, str]) -> dict[str, str]:
    """Colours of the figures' theme by Furo's names, and by the theme's own for our style sheet."""
    named = {
        "color-background-primary": palette["paper"],
        "color-background-secondary": palette["card"],
        "color-background-hover": palette["wash"],
        "color-background-border": palette["line"],
        "color-foreground-primary": palette["ink"],
        "color-foreground-secondary": palette["muted"],
        "color-foreground-muted": palette["muted"],
        "color-brand-primary": palette["accent"],
        "color-brand-content": palette["accent"],
        "color-brand-visited": palette["accent"],
        "color-problematic": palette["caution"],
        "color-api-name": palette["ink"],
        "color-api-pre-name": palette["muted"],
        "color-inline-code-background": palette["card"],
    }
    return named | palette


html_theme_options = {
    "light_css_variables": _colors(PALETTES["light"]),
    "dark_css_variables": _colors(PALETTES["dark"]),
    "footer_icons": [],
}
