"""The design's size limits, held by `make lint`: exits 1 and names each place that breaks one."""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "annoloop"
MODULE_LINES, MEDIAN_LINES, FUNCTION_LINES, FOLDER_LEVELS = 400, 150, 60, 2
DRAWERS = {"utils", "helpers", "common", "misc", "manager"}
# A command's parameters are its flags, so the faces are free of the limit on arguments.
FREE_OF_ARGUMENT_LIMIT = {"cli.py", "cli_people.py", "cli_fiftyone.py"}
ARGUMENTS, POSITIONAL = 6, 2


def function_problems(path: Path, tree: ast.Module) -> list[str]:
    problems = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        where = f"{path.relative_to(ROOT.parent)}:{node.lineno} {node.name}"
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            problems.append(f"{where}: {lines} lines, limit {FUNCTION_LINES}")
        if path.name in FREE_OF_ARGUMENT_LIMIT:
            continue
        positional = [a for a in node.args.args if a.arg not in {"self", "cls"}]
        count = len(positional) + len(node.args.kwonlyargs)
        if count > ARGUMENTS:
            problems.append(f"{where}: {count} arguments, limit {ARGUMENTS}")
    return problems


def module_problems(path: Path, lines: int) -> list[str]:
    name = path.relative_to(ROOT.parent)
    problems = []
    if lines > MODULE_LINES:
        problems.append(f"{name}: {lines} lines, limit {MODULE_LINES}")
    if path.stem in DRAWERS:
        problems.append(f"{name}: a drawer; name it for what it holds")
    if len(path.relative_to(ROOT).parts) > FOLDER_LEVELS + 1:
        problems.append(f"{name}: more than {FOLDER_LEVELS} folder levels")
    return problems


def main() -> int:
    problems, sizes = [], []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if path.name != "__init__.py":
            sizes.append(lines)
        problems += module_problems(path, lines)
        problems += function_problems(path, ast.parse(source))
    median = statistics.median(sizes)
    if median > MEDIAN_LINES:
        problems.append(f"annoloop: median module has {median} lines, limit {MEDIAN_LINES}")
    print("\n".join(problems) or f"limits: {len(sizes)} modules, median {median:g} lines")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
