"""Which samples must stay together: by folder, by a column of the labels, or by a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from annoloop.errors import SettingsError


class GroupRule:
    """`split.group`, or `select.scene`, as a function of a sample's path (or of its columns)."""

    def __init__(
        self,
        rule: str,
        columns: Mapping[str, Mapping[str, str]] | None,
        *,
        setting: str = "split.group",
    ) -> None:
        kind, _, argument = rule.partition(":")
        kinds = {"none", "folder", "rule"} | (set() if columns is None else {"column"})
        if kind not in kinds:
            column = "column:NAME, " if "column" in kinds else "group, "
            raise SettingsError(
                f"{setting} {rule!r} is not known",
                fix=f"Use none, folder, {column}or rule:REGEX with one group in parentheses.",
            )
        self.kind, self.argument, self.columns = kind, argument, columns or {}
        self.pattern: re.Pattern[str] | None = None
        if kind == "rule":
            try:
                self.pattern = re.compile(argument)
            except re.error as error:
                raise SettingsError(
                    f"{setting} {rule!r} is not a regular expression: {error}",
                    fix="Mend the expression; its first parenthesis is the group.",
                ) from error

    def group(self, path: str) -> str | None:
        if self.kind == "folder":
            parent = str(PurePosixPath(path).parent)
            return None if parent == "." else parent
        if self.kind == "column":
            return self.columns.get(path, {}).get(self.argument)
        if self.pattern is not None:
            hit = self.pattern.search(path)
            return (hit.group(1) if hit.groups() else hit.group(0)) if hit else None
        return None
