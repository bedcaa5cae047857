"""How the templates of the faces are read, and the filters that they use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


_TONES = {
    "pass": "good",
    "continue": "plain",
    "stop_target": "good",
    "warn": "careful",
    "insufficient": "careful",
    "fail": "bad",
    "fix_labels": "bad",
}


def environment(package: str = "annoloop.report") -> Environment:
    """Templates of a package, then the report's: the app shares its parts.

    Every text is escaped, an unknown name is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    here = "annoloop.report"
    made = Environment(
        loader=ChoiceLoader([PackageLoader(one) for one in dict.fromkeys((package, here))]),
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
        "tone": lambda verdict: _TONES.get(verdict, "plain"),
        "minute": lambda when: when[:16].replace("T", " "),
        "files": lambda path: path.rpartition("/")[2],
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
