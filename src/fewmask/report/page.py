"""Fills the template of the page. Every text that comes from a run is escaped, and the page may load nothing.

The Content-Security-Policy of the page allows pictures that are inside it, and the one script whose hash it names. So a
browser runs nothing that a name of a class or an image could smuggle in, and asks nobody for anything.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fewmask.errors import printable
from fewmask.report.answer import signed
from fewmask.report.facts import duration


def render(context: Mapping[str, Any]) -> str:
    """The whole page as HTML."""
    environment = Environment(
        loader=PackageLoader("fewmask.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"signed": signed, "duration": duration, "fixed": _fixed}
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.jinja").render(
        context,
        style=Markup(style),
        script=Markup(script),
        policy=policy,
    )


def _asset(name: str) -> str:
    return files("fewmask.report").joinpath("templates", name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Control characters of names, which could turn text around, are written as escapes."""
    return printable(value) if type(value) is str and not value.startswith("data:image/") else value


def _fixed(value: float | None, digits: int = 1) -> str:
    """A number with so many digits; a dash for none."""
    if value is None or value != value:
        return "\u2013"
    return f"{value:.{digits}f}".replace("-", "\u2212")
