"""How the templates of the faces are read, and the filters that they use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str = "annoloop.report") -> Environment:
    """Templates of a package; every text is escaped, an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "code": _code,
        "fraction": _fraction,
        "number": "{:,}".format,
        "points": lambda value: "–" if value is None else f"{100 * value:+.1f}",
        "percent": lambda value: "–" if value is None else f"{100 * value:.0f} %",
        "count": lambda value: "–" if value is None else f"{value:,.0f}",
    }
    return made


def _fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _code(text: str) -> Any:
    """Escaped text in which `such words` are set as code."""
    from markupsafe import Markup, escape

    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else escape(part)
        for odd, part in enumerate(parts)
    )
