"""The little YAML in which data sets are described: top-level keys with a scalar, a list of
scalars, or a mapping of scalars. Everything is text; whatever else a wanted key holds is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from annoloop.errors import InputError

Value = str | list[str] | dict[str, str]
Line = tuple[int, str]

_KEY = re.compile(r"""(?P<quote>["']?)(?P<key>[\w.-]+)(?P=quote)\s*:(?:\s+(?P<rest>.*))?$""")
_ITEM = re.compile(r"(?P<indent>\s*)-\s+(?P<value>.*)$")
_PAIR = re.compile(rf"(?P<indent>\s+){_KEY.pattern}")
_FLOW = re.compile(r"""\s*('(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s,\[\]{}'"][^,\[\]{}]*?)\s*(,|$)""")
_RESERVED = tuple("&*!|>%@`{}[],\"'#")


def read_keys(file: Path, keys: Collection[str]) -> dict[str, Value]:
    """The values of those of the top-level keys that are there and not empty; others are skipped.

    Raises InputError naming file and line for what it cannot read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})", fix="Write it as UTF-8.") from error
    found: dict[str, Value] = {}
    for key, (head, body) in _sections(file, text).items():
        if key in keys and (head[1] or body):
            found[key] = _value(file, head, body)
    return found


def _sections(file: Path, text: str) -> dict[str, tuple[Line, list[Line]]]:
    """Top-level key → the rest of its line, and the lines that belong to it."""
    found: dict[str, tuple[Line, list[Line]]] = {}
    body: list[Line] | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _without_comment(raw).rstrip()
        if not line or line == "---":
            continue
        if line == "...":
            break
        if line[0] in " \t-]":
            if body is None:
                raise _bad(file, number, "belongs to no key")
            body.append((number, line))
            continue
        match = _KEY.match(line)
        if match is None:
            raise _bad(file, number, "is no `key: value`")
        if match["key"] in found:
            raise _bad(file, number, f"has the key {match['key']!r} again")
        body = []
        found[match["key"]] = ((number, match["rest"] or ""), body)
    return found


def _value(file: Path, head: Line, body: Sequence[Line]) -> Value:
    number, text = head
    if text.startswith("["):
        return _flow(file, number, " ".join([text, *(line.strip() for _, line in body)]))
    if text and body:
        raise _bad(file, body[0][0], "continues a value over several lines")
    if text:
        return _scalar(file, number, text)
    kind = _ITEM if _ITEM.match(body[0][1]) else _PAIR
    indent = len(body[0][1]) - len(body[0][1].lstrip())
    items: list[str] = []
    pairs: dict[str, str] = {}
    for line_number, line in body:
        match = kind.match(line)
        if match is None or len(match["indent"]) != indent:
            raise _bad(file, line_number, "is neither the next item of a list nor of a mapping")
        if kind is _ITEM:
            items.append(_scalar(file, line_number, match["value"]))
        elif match["key"] in pairs:
            raise _bad(file, line_number, f"has the key {match['key']!r} again")
        else:
            pairs[match["key"]] = _scalar(file, line_number, match["rest"] or "")
    return pairs or items


def _flow(file: Path, number: int, text: str) -> list[str]:
    if not text.endswith("]"):
        raise _bad(file, number, "has a list that does not end with `]`")
    inside = text[1:-1].strip().removesuffix(",")
    items, at = [], 0
    while at < len(inside):
        match = _FLOW.match(inside, at)
        if match is None:
            raise _bad(file, number, "has a list that cannot be read")
        items.append(_scalar(file, number, match[1]))
        at = match.end()
    return items


def _scalar(file: Path, number: int, text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            raise _bad(file, number, f"has an escape that cannot be read in {text}") from None
    if not text or text.startswith(_RESERVED) or ": " in text or text.endswith(":"):
        raise _bad(file, number, f"has no plain or quoted text at {text!r:.80}")
    return text


def _without_comment(line: str) -> str:
    quote = ""
    for at, character in enumerate(line):
        before = line[at - 1] if at else " "
        if quote:
            if character == quote and not (quote == '"' and before == "\\"):
                quote = ""
        elif character in "'\"" and before in " \t[,":
            quote = character
        elif character == "#" and before in " \t":
            return line[:at]
    return line


def _bad(file: Path, number: int, what: str) -> InputError:
    return InputError(
        f"{file}:{number}: this line {what}",
        fix="Write `names` as a list or as `0: name` lines, and folders as plain text.",
    )
