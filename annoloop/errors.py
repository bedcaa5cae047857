"""Every expected failure, as one tree; each error says what is wrong and what to do next.

AnnoloopError
├── SettingsError            annoloop.toml, an environment variable or a flag is wrong
├── ProjectError             no project here, or one this version cannot open
├── StorageError             the disk is full, refuses a file, or cannot be read
├── InputError               a file that people gave us is wrong: names file and row
│   └── AnswersError         an answers file does not fit its batch; nothing was merged
├── LockedSplitError         a locked sample would have been selected, trained on or moved
├── NotReadyError            a step that only people can do has to come first
├── BatchError               no such batch, or it is not in the right state
│   ├── BatchOpenError       a batch is still open
│   └── BatchClosedError     a closed batch was answered
├── GoldenError              the golden check failed and nobody accepted it
├── BusyError                another process works on the project, or changed it meanwhile
│   └── TakenError           an image is another person's to label, or changed in another window
├── DependencyError          an optional package, program or server is missing
├── TrainerError             a trainer failed or returned nonsense
├── VectorError              vectors are missing, broken, or of another width
└── NotBuiltError            a verb whose own issue is still open
"""

from __future__ import annotations


class AnnoloopError(Exception):
    """An expected failure. `problem` says what is wrong, `fix` what to do next."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem}\n  fix: {fix}")
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        # The keyword-only argument defeats the default pickling, which process pools rely on.
        return _rebuild, (type(self), self.problem, self.fix)


def _rebuild(kind: type[AnnoloopError], problem: str, fix: str) -> AnnoloopError:
    return kind(problem, fix=fix)


class SettingsError(AnnoloopError):
    """annoloop.toml, an environment variable or a flag is wrong."""


class ProjectError(AnnoloopError):
    """There is no project here, or this version cannot open it."""


class StorageError(AnnoloopError):
    """The disk is full, refuses a file, or cannot be read."""


class InputError(AnnoloopError):
    """A file that people gave us is wrong; the message names file and row."""


class AnswersError(InputError):
    """An answers file does not fit its batch; nothing was merged."""


class LockedSplitError(AnnoloopError):
    """A locked sample would have been selected, trained on or moved."""


class NotReadyError(AnnoloopError):
    """A step that only people can do has to come first."""


class BatchError(AnnoloopError):
    """There is no such batch, or it is in the wrong state."""


class BatchOpenError(BatchError):
    """A batch is still open."""


class BatchClosedError(BatchError):
    """A closed batch was answered."""


class GoldenError(AnnoloopError):
    """The golden check failed and nobody has accepted it."""


class BusyError(AnnoloopError):
    """Another process works on the project, or changed it meanwhile."""


class TakenError(BusyError):
    """An image is another person's to label, or was changed in another window."""


class DependencyError(AnnoloopError):
    """An optional package, program or server is missing."""


class TrainerError(AnnoloopError):
    """A trainer failed or returned nonsense."""


class VectorError(AnnoloopError):
    """Vectors are missing, not finite, or of another width."""


class NotBuiltError(AnnoloopError):
    """A verb whose own issue is still open."""
