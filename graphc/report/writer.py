"""The page itself: template, styles and scripts of this package in one file, with the packed data."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from importlib import resources
from string import Template

from graphc.report.packing import Pack

__all__ = ["page"]

_STYLES = ("base", "views", "pages")
# In the order in which they use each other; one scope holds them all.
_SCRIPTS = (
    "data",
    "dom",
    "report",
    "drawing",
    "pane",
    "facts",
    "stages",
    "gradients",
    "listing",
    "kernels",
    "memory",
    "profile",
    "undone",
    "overview",
    "search",
    "main",
)


def page(title: str, pack: Pack) -> str:
    """Return the page as one HTML document that needs nothing else.

    Parameters
    ----------
    title : str
        Name of the program.
    pack : Pack
        What it shows.

    Returns
    -------
    str

    Examples
    --------
    >>> page("a < b", Pack()).count("a &lt; b")
    2
    """
    return Template(_read("page.html")).substitute(
        title=html.escape(title),
        style=_joined(f"{name}.css" for name in _STYLES),
        script=_joined(f"{name}.js" for name in _SCRIPTS),
        # Base64 and keys of our own: nothing in it can end the element.
        pack=json.dumps(pack.entries),
    )


def _joined(names: Iterable[str]) -> str:
    return "\n".join(map(_read, names))


def _read(name: str) -> str:
    return (resources.files("graphc.report") / "page" / name).read_text(encoding="utf-8")
