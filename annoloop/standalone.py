"""Verbs that need no project: `metrics`, `golden check` on files, `golden power`, `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annoloop import foreign, plugins, results, results_golden
from annoloop.results_metrics import MetricsResult, MetricsWish
from annoloop.settings import LabelsSettings


def check_installation() -> results.DoctorResult:
    """`doctor` where there is no project."""
    from annoloop.steps import doctor

    return doctor.doctor(plugins.installed(), None)


def file_metrics(
    ground_truth: Path, detections: Path, wish: MetricsWish | None = None
) -> MetricsResult:
    """`metrics`: the twelve COCO numbers of two files, and what else is wished for."""
    from annoloop.steps import metrics

    return metrics.metrics(ground_truth, detections, wish)


def golden_check_files(
    reference: Path, new: Path, *, baselines: Sequence[Path], looks: int, look: int
) -> results_golden.GoldenFilesResult:
    """`golden check --reference`: the golden test on label files."""
    from annoloop.steps.golden_files import FilePass, check_files

    def read(file: Path) -> FilePass:
        foreign.refuse_huge(file, LabelsSettings().max_mib)
        reader = plugins.make("readers", plugins.detect_format(file), {})
        return FilePass(file.name, reader.read(file))

    earlier = [read(file) for file in baselines]
    return check_files(read(reference), read(new), baselines=earlier, looks=looks, look=look)


def golden_power(
    golden_set: tuple[int, float, int], *, usual: float, to: float, looks: int
) -> results_golden.GoldenPowerResult:
    """`golden power`; `golden_set` is images, boxes an image, earlier passes."""
    from annoloop.core.power import Scenario
    from annoloop.steps.golden_files import power

    return power(Scenario(*golden_set), usual=usual, to=to, looks=looks)
