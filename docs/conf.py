"""Sphinx configuration: ``python -m sphinx -c docs . docs/_build/html`` from the top of the repository.

The source directory is the repository itself, so that relative links work both on a code host and in the site. The
navigation is made from the links in ``docs/README.md``, section by section.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.generate import diagram, tables  # noqa: E402 - found by the line above
from queuectl_nb import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "queuectl"
author = "queuectl-nb contributors"
html_show_copyright = False
release = version = __version__

extensions = ["myst_nb", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/README"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
]
exclude_patterns = [".*", "**/.*", "artifacts", "build", "dist", "docs/_build", "queuectl_nb", "tests"]

# -- text
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
suppress_warnings = [
    "myst.header",  # generated pages start with a comment
    "mystnb.unknown_mime_type",  # a saved dashboard has a mark for JupyterLab beside its table
]

# -- notebooks: always executed, so that their output is current
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True  # a rewritten progress line shows its last state
nb_ipywidgets_js: dict[str, Any] = {}  # widgets show their saved HTML table; no script is loaded
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# -- Python
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
nitpick_ignore_regex = [
    ("py:.*", r"(?!queuectl_nb).*"),  # other packages; their inventories are on the network
    ("py:class", r"queuectl_nb\.model\.job\.JobRecord"),  # its fields are on the page of the JSON fields
    ("py:class", r"queuectl_nb\.client\.selection\.Selection"),  # the docstrings name its keywords
]

# -- appearance
html_theme = "furo"
html_title = f"queuectl {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"

_NBVAL = re.compile(r'"# NBVAL_[A-Z_]+\\n",\s*')
"""Test markers in the JSON of a notebook, hidden from readers."""
PARENTS = {"docs/decisions/README": "/docs/decisions/", "docs/reference/cli": "/docs/reference/cli/"}
"""Pages that list the pages below them, with the folder of these."""
_LINK = re.compile(r"\]\(([^)#:]+\.(?:md|ipynb))(?:#[^)]*)?\)")
_PICTURE = re.compile(r'<picture>\s*<source [^>]*srcset="(.+?)">\s*<img alt="(.+?)" src="(.+?)">\s*</picture>')
_ITEM = re.compile(r"^- \[(.+)\]\((.+)\.(?:md|ipynb)\): (.+)$", re.MULTILINE)


class Mermaid(Directive):
    """Render the state diagram as SVG; its source must be that of the transition table."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram."""
        source = "\n".join(["```mermaid", *self.content, "```"])
        if source != tables.diagram():
            message = "only the generated state diagram can be rendered"
            raise self.error(message)
        return [nodes.raw("", diagram.svg(), format="html")]


def links(text: str, page: str) -> list[str]:
    """Return the pages that a text links to by their Sphinx names, without duplicates."""
    folder = PurePosixPath(page).parent
    found = []
    for target in _LINK.findall(text):
        parts: list[str] = []
        for part in (folder / target).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        found.append("/" + str(PurePosixPath(*parts).with_suffix("")))
    return list(dict.fromkeys(found))


def cards(text: str) -> str:
    """Return a text with its list of links and descriptions as a grid of cards."""
    items = list(_ITEM.finditer(text))
    made = [f":::{{grid-item-card}} {item[1]}\n:link: {item[2]}\n:link-type: doc\n\n{item[3]}\n:::" for item in items]
    grid = "\n".join(["::::{grid} 1 2 2 3", ":gutter: 3\n", *made, "::::"])
    return text[: items[0].start()] + grid + text[items[-1].end() :]


def toctree(entries: list[str], caption: str = "") -> str:
    """Return a hidden toctree."""
    head = f":caption: {caption}\n" if caption else ""
    return "\n\n```{toctree}\n:hidden:\n" + head + "\n".join(entries) + "\n```\n"


def navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Adapt a page to the site: navigation from its links, cards, and pictures for both colour schemes."""
    source[0] = _PICTURE.sub(
        r"```{image} \3\n:alt: \2\n:class: only-light\n```\n\n```{image} \1\n:alt: \2\n:class: only-dark\n```",
        source[0],
    )
    if page == root_doc:
        seen: set[str] = set()
        start, *sections = source[0].split("\n## ")
        source[0] = "\n## ".join([cards(start), *sections])
        for section in sections:
            entries = [entry for entry in links(section, page) if entry not in seen]
            if section.startswith("Tutorial"):  # include notebooks that are not linked yet
                every = (f"/notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("*.ipynb")))
                entries += [entry for entry in every if entry not in entries]
            seen.update(entries)
            source[0] += toctree(entries, section.split("\n")[0])
    elif page.startswith("notebooks/"):
        source[0] = _NBVAL.sub("", source[0])
    elif page in PARENTS:
        source[0] += toctree([entry for entry in links(source[0], page) if entry.startswith(PARENTS[page])])


def setup(app: Sphinx) -> None:
    """Register the directive and the navigation."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", navigation)
