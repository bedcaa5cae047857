"""The desk of people who label in a browser: tasks, drafts, answers. One is kept by the app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from annoloop import results_label
from annoloop.records import Label, Sample

if TYPE_CHECKING:
    from annoloop.session import Session


class Desk:
    """What the label page asks of a project; safe to call from several threads at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = Lock()  # waiting for it costs less than SQLite's polling for its own
        self._suggested: dict[str, Mapping[str, tuple[Label, ...]]] = {}

    def setup(self, batch: str) -> results_label.LabelSetup:
        """Classes, rules and size of a batch. Raises InputError if there is no class to draw."""
        from annoloop.steps import label_setup

        context = self._session._context()
        return label_setup.setup(context, batch, suggests=bool(self._suggestions(batch)))

    def claim(
        self, batch: str, who: str, *, number: int | None = None, after: int = 0
    ) -> results_label.TaskView | None:
        """Lease a task and get it; None if the batch needs nothing more of this person."""
        from annoloop.steps import label, label_setup

        context = self._session._context()
        with self._turn:
            found = label.claim(context, batch, who, number=number, after=after)
        if found is None:
            return None
        key, _, view = found
        if view.origin != "nothing":
            return view
        start, origin = label_setup.current(context, batch, key), "labels"
        suggested = False
        if start is None:
            start, origin, suggested = self._suggestions(batch).get(key), "model", True
        if not start:
            return view
        return replace(view, boxes=label.rows(start, suggested=suggested), origin=origin)

    def save(
        self, batch: str, number: int, who: str, work: results_label.Work
    ) -> results_label.SavedView:
        """Keep a draft; it is on the disk when this returns."""
        from annoloop.steps import label

        with self._turn:
            return label.save_draft(self._session._context(), batch, number, who=who, work=work)

    def answer(
        self, batch: str, number: int, who: str, *, answer: str, work: results_label.Work
    ) -> results_label.SavedView:
        """Enter an answer; it is on the disk when this returns."""
        from annoloop.steps import label

        context = self._session._context()
        with self._turn:
            return label.answer(context, batch, number, who=who, said_=answer, work=work)

    def queue(self, batch: str, who: str) -> results_label.QueueView:
        """Where each task stands, as this person sees it."""
        from annoloop.steps import label

        return label.queue(self._session._context(), batch, who)

    def image(self, batch: str, number: int) -> Sample:
        """The image behind a task."""
        from annoloop.steps import label

        return label.image_of(self._session._context(), batch, number)

    def _suggestions(self, batch: str) -> Mapping[str, tuple[Label, ...]]:
        """Boxes that the batch was given; once given they never change."""
        from annoloop.steps import label_setup

        if batch not in self._suggested:
            found = label_setup.suggestions(self._session._context(), batch)
            if found is None:
                return {}
            self._suggested[batch] = found
        return self._suggested[batch]
