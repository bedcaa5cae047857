"""annoloop in the FiftyOne App: operators and a panel over `annoloop.fiftyone` and a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from annoloop import fiftyone as loop
from annoloop import fiftyone_project as verbs
from annoloop.errors import AnnoloopError
from annoloop.render_fiftyone import standing


class SelectNextBatch(foo.Operator):
    """The form of `annoloop.fiftyone.iterate`."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="select_next_batch",
            label="annoloop: select the next batch",
            description="Golden statistics, then the next batch, each pick with its reason",
        )

    def resolve_input(self, _ctx: Any) -> Any:
        form = types.Object()
        form.int(
            "size", label="Samples", description="A fifth of what remains if empty", required=False
        )
        form.float(
            "coverage", label="Share of coverage", default=loop.MIX["coverage"], min=0.0, max=1.0
        )
        form.int("seed", label="Seed", default=0)
        form.bool("rescore", label="Compute zcore anew", default=False)
        form.bool("allow_open", label="Although the last batch is open", default=False)
        form.bool("dry_run", label="Only show what would be picked", default=False)
        return types.Property(form, view=types.View(label="Select the next batch"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        given = ctx.params
        share = float(given.get("coverage", loop.MIX["coverage"]))
        said: list[str] = []
        try:
            made = loop.iterate(
                ctx.dataset,
                given.get("size"),
                mix={"coverage": share, "targeted": 1.0 - share},
                seed=int(given.get("seed", 0)),
                rescore=bool(given.get("rescore", False)),
                allow_open=bool(given.get("allow_open", False)),
                dry_run=bool(given.get("dry_run", False)),
                say=said.append,
            )
        except AnnoloopError as error:
            return {"summary": f"**{error.problem}**\n\nfix: {error.fix}", "batch": None}
        if not made.dry_run:
            ctx.ops.reload_dataset()
            ctx.ops.set_view(name=made.view)
        return {"summary": "\n\n".join(said[0].splitlines()), "batch": made.batch}

    def resolve_output(self, _ctx: Any) -> Any:
        return _shown("The next batch")


class GoldenCheck(foo.Operator):
    """`annoloop golden check` of the dataset's project; without one the golden statistics."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="golden_check",
            label="annoloop: golden check",
            description="Has label quality drifted? Blind answers against their reference",
        )

    def resolve_input(self, ctx: Any) -> Any:
        form = _of_project(ctx)
        form.str("accept", label="Accept a fail, because", required=False)
        return types.Property(form, view=types.View(label="Golden check"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        given, folder = ctx.params, _folder(ctx)
        accept = given.get("accept") or None
        return _said(lambda: verbs.golden_check(ctx.dataset, folder, accept=accept))

    def resolve_output(self, _ctx: Any) -> Any:
        return _shown("Golden check")


class Decide(foo.Operator):
    """`annoloop decide` of the dataset's project."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="decide",
            label="annoloop: stop or continue",
            description="What the next batch should add and cost, and whether the target is met",
        )

    def resolve_input(self, ctx: Any) -> Any:
        return types.Property(_of_project(ctx), view=types.View(label="Stop or continue"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        folder = _folder(ctx)
        shown = _said(lambda: verbs.decide(ctx.dataset, folder))
        ctx.ops.reload_dataset()
        return shown

    def resolve_output(self, _ctx: Any) -> Any:
        return _shown("Stop or continue")


class ProgressSummary(foo.Operator):
    """Where the loop stands."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(name="progress_summary", label="annoloop: progress summary")

    def execute(self, ctx: Any) -> dict[str, Any]:
        return {"summary": _standing(ctx.dataset)}

    def resolve_output(self, _ctx: Any) -> Any:
        return _shown("Where the loop stands")


class ProgressPanel(foo.Panel):
    """The same, to stay open beside the samples."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name="annoloop_progress", label="annoloop", icon="loop")

    def on_load(self, ctx: Any) -> None:
        ctx.panel.set_state("summary", _standing(ctx.dataset))

    def on_change_dataset(self, ctx: Any) -> None:
        self.on_load(ctx)

    def refresh(self, ctx: Any) -> None:
        self.on_load(ctx)

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        panel.md(ctx.panel.get_state("summary", ""), name="summary_text")
        panel.btn("refresh", label="Look again", on_click=self.refresh)
        panel.btn(
            "select",
            label="Select the next batch",
            on_click="@annoloop/annoloop/select_next_batch",
            prompt=True,
        )
        return types.Property(panel, view=types.GridView(orientation="vertical"))


def _of_project(ctx: Any) -> Any:
    form = types.Object()
    form.str(
        "project",
        label="Folder of the project",
        description="Made by `annoloop init DIR --fiftyone NAME`",
        default=verbs.folder_of(ctx.dataset),
        required=False,
    )
    return form


def _folder(ctx: Any) -> str:
    return str(ctx.params.get("project") or verbs.folder_of(ctx.dataset))


def _said(call: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"summary": "\n\n".join(call().splitlines())}
    except AnnoloopError as error:
        return {"summary": f"**{error.problem}**\n\nfix: {error.fix}"}


def _shown(title: str) -> Any:
    shown = types.Object()
    shown.str("summary", label="annoloop", view=types.MarkdownView())
    return types.Property(shown, view=types.View(label=title))


def _standing(dataset: Any) -> str:
    try:
        return "\n\n".join(standing(loop.progress(dataset)))
    except AnnoloopError as error:
        return f"**{error.problem}**\n\nfix: {error.fix}"


def register(plugin: Any) -> None:
    """Called by FiftyOne."""
    for one in (SelectNextBatch, GoldenCheck, Decide, ProgressSummary, ProgressPanel):
        plugin.register(one)
