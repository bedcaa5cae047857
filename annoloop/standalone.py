"""Verbs that need no project: `metrics`, and `doctor` where there is none."""

from __future__ import annotations

from pathlib import Path

from annoloop import plugins, results


def check_installation() -> results.DoctorResult:
    """`doctor` where there is no project."""
    from annoloop.steps import doctor

    return doctor.doctor(plugins.installed(), None)


def file_metrics(ground_truth: Path, detections: Path) -> results.MetricsResult:
    """`metrics`: the twelve COCO numbers of two files."""
    from annoloop.steps import metrics

    return metrics.metrics(ground_truth, detections)
