"""What a person should do next, in words, with the command."""

from __future__ import annotations

from collections.abc import Mapping

from annoloop.records import Split, Status
from annoloop.results_batches import BatchSummary
from annoloop.store.iterations import Iteration

NEXT = {
    "annotate": "annotate batch {batch}, then `annoloop annotate close {batch}`",
    "close": "every image is answered: `annoloop annotate close {batch}`",
    "review": "two people answer {batch}, each in an import of their own, then "
    "`annoloop annotate close {batch}`",
    "relabel": "the golden check failed: correct the labels (`annoloop batch make --kind relabel "
    '--of {batch}`), then `annoloop golden check --accept "why"`',
    "accept": "labels were corrected since the golden check failed: go on with "
    '`annoloop golden check --accept "why"`',
    "classes": "name what is to be labelled: `annoloop ingest --classes cup,plate`",
    "val": "label val first, or nothing can be measured: `annoloop batch make --kind val`",
    "golden": "`annoloop golden check`",
    "train": "`annoloop train`",
    "evaluate": "`annoloop evaluate`",
    "decide": "`annoloop decide`",
    "wrong": "correct the labels that the review found (`annoloop batch make --kind relabel "
    "--paths …`), then `annoloop evaluate` and `annoloop decide`",
}


def next_step(
    history: list[Iteration],
    all_batches: list[BatchSummary],
    counts: Mapping[tuple[Split | None, Status], int],
    *,
    val_labeled: bool,
    classes: bool,
) -> str:
    """What a person should do next, in words, with the command."""
    if not counts:
        return "add images: `annoloop ingest`"
    if any(side is None for side, _ in counts):
        return "make the splits: `annoloop split`"
    if not classes:
        return NEXT["classes"]
    waiting = next((b for b in all_batches if b.open and b.kind != "select"), None)
    if waiting is not None and waiting.kind == "review":
        return NEXT["review"].format(batch=waiting.name)
    if waiting is not None:
        done = waiting.answered >= sum(waiting.by_source.values())
        return NEXT["close" if done else "annotate"].format(batch=waiting.name)
    if not history and not val_labeled:
        return NEXT["val"]
    if not history:
        return "choose the first batch: `annoloop select`"
    step = history[-1].next_step
    golden = history[-1].steps.get("golden")
    failed = golden is not None and golden.record["verdict"] == "fail"
    if golden is not None and failed and not golden.record.get("accepted"):
        since = any(b.kind == "relabel" and b.created_at > golden.at for b in all_batches)
        return NEXT["accept" if since else "relabel"].format(batch=history[-1].batch)
    if step == "annotate" and _all_answered(all_batches, history[-1].batch):
        return NEXT["close"].format(batch=history[-1].batch)
    if step is not None:
        return NEXT[step].format(batch=history[-1].batch)
    decided = history[-1].steps["decide"].record
    verdict = str(decided["verdict"])
    if verdict == "continue":
        return "choose the next batch: `annoloop select`"
    if verdict == "fix_labels":
        # The golden check of then has passed or was accepted since, or it would be named above.
        return NEXT["decide" if decided["numbers"].get("golden") == "fail" else "wrong"]
    return f"the loop says {verdict}: open the test split once, `annoloop evaluate --split test`"


def _all_answered(all_batches: list[BatchSummary], name: str) -> bool:
    batch = next(b for b in all_batches if b.name == name)
    return batch.answered >= sum(batch.by_source.values())
