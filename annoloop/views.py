"""What faces and callers look at: reads of a project that change nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from annoloop import (
    plugins,
    results,
    results_golden,
    results_history,
    results_models,
    results_replay,
    results_suspects,
)
from annoloop.records import Sample
from annoloop.session import Session


class Views(Session):
    """The part of `Project` that only reads."""

    def explain(self) -> results_models.ExplainResult:
        """Details of the newest evaluated model: classes with their curves, confusion, TIDE."""
        from annoloop.steps import explain

        return explain.explain(self._context())

    def newest_evaluation(self) -> int | None:
        """The number of the newest evaluation, by which what follows from it may be kept."""
        from annoloop.steps import failures

        return failures.newest_evaluation(self._context())

    def suspects(self) -> results_suspects.SuspectsResult:
        """Labels of the training set that are probably wrong, likeliest first."""
        from annoloop.steps import suspects

        return suspects.suspects(self._context())

    def history(self, *, events: int = 200) -> results_history.HistoryResult:
        """What was done and decided, when and by whom; the newest `events` of the audit log."""
        from annoloop.steps import history

        return history.history(self._context(), events=events)

    def sample(self, name: str) -> results_history.SampleView:
        """All that is known of one image, by its path or id, and why it was picked."""
        from annoloop.steps import sample

        return sample.sample(self._context(), name)

    def gallery(self, ids: Collection[str]) -> dict[str, results_models.ImageView]:
        """Images with their boxes, by sample id, for those who draw them."""
        from annoloop.steps import gallery

        return gallery.gallery(self._context(), ids)

    def image(self, sample_id: str) -> Sample:
        """One image by its id, and where it lies."""
        from annoloop.steps import gallery

        return gallery.image(self._context(), sample_id)

    def golden_prelabels(self) -> results_golden.GoldenPrelabelsResult:
        """What the model's boxes do to the labels of people who start from them."""
        from annoloop.steps import prelabel_bias

        return prelabel_bias.prelabel_bias(self._context())

    def golden_conflicts(self) -> tuple[results_golden.GoldenConflict, ...]:
        """Images of the newest golden check that differ most from their reference."""
        from annoloop.steps import gallery

        return gallery.golden_conflicts(self._context())

    def replay(
        self,
        plan: str | Path | Mapping[str, Any] | None = None,
        *,
        out: str | Path | None = None,
        workers: int | None = None,
        dry_run: bool = False,
    ) -> results_replay.ReplayResult | results_replay.ReplayCost:
        """Which mix would have paid on the images that have labels; this project stays as it is."""
        run = plugins.load("faces", "replay")
        made: results_replay.ReplayResult | results_replay.ReplayCost = run(
            self, plan, out=out, workers=workers, dry_run=dry_run
        )
        return made

    def report(self, out: str | Path) -> results.ReportResult:
        """The picture of the loop as one self-contained HTML file."""
        made: results.ReportResult = plugins.load("faces", "report")(self, Path(out))
        return made
