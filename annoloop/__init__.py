"""annoloop: the annotation iteration loop for computer-vision teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from annoloop.project import Project as Project

__all__ = ["Project", "__version__"]


def __getattr__(name: str) -> Any:
    # Resolved on first use so that `import annoloop` stays free of NumPy, SQL and every SDK.
    if name == "Project":
        from annoloop.project import Project

        return Project
    raise AttributeError(f"module 'annoloop' has no attribute {name!r}")
