"""Settings: file < environment < flags; a wrong key or value is named with where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from annoloop import settings
from annoloop.errors import SettingsError


def write(folder: Path, text: str) -> Path:
    (folder / settings.FILE).write_text(text)
    return folder


def test_the_template_is_the_defaults(tmp_path: Path) -> None:
    write(tmp_path, settings.template("images"))
    assert settings.load(tmp_path, environ={}) == settings.Settings()


def test_flags_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, "[train]\nseed = 1\ntrainer = 'a'\n[select]\nseed = 1\n")
    environ = {"ANNOLOOP_TRAIN__SEED": "2", "ANNOLOOP_TRAIN__TRAINER": "b", "OTHER": "x"}
    found = settings.load(tmp_path, environ=environ, overrides={"train": {"seed": 3}})
    assert (found.train.seed, found.train.trainer, found.select.seed) == (3, "b", 1)


def test_a_mix_replaces_the_mix_before_it(tmp_path: Path) -> None:
    write(tmp_path, "[select]\nmix = { coverage = 0.5, targeted = 0.5 }\n")
    found = settings.load(tmp_path, environ={}, overrides={"select": {"mix": {"random": 1.0}}})
    assert found.select.mix == {"random": 1.0}


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("[selct]\nseed = 1\n", "unknown key selct", "Did you mean select?"),
        ("[select]\nsede = 1\n", "unknown key select.sede", "Did you mean seed?"),
        ("[select]\nzzzzz = 1\n", "unknown key select.zzzzz", "Known keys here: mix"),
        ("[split]\ntest = 2\n", "split.test", "Correct this value"),
        ("[split]\ntest = 0.5\nval = 0.5\n", "leave no pool", "Correct this value"),
        ("[stop]\nmetric = 'mAP'\n", "stop.metric", "Correct this value"),
        ("[train\n", "not valid TOML", "Mend the line"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str, fix: str) -> None:
    write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path, environ={})
    assert problem in caught.value.problem
    assert fix in caught.value.fix
    assert settings.FILE in caught.value.problem


def test_the_environment_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(SettingsError, match="the environment: train\\.seed"):
        settings.load(tmp_path, environ={"ANNOLOOP_TRAIN__SEED": "many"})


def test_the_page_of_settings_lists_every_key() -> None:
    page = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()
    for name, section in settings.Settings.model_fields.items():
        assert f"## [{name}]" in page
        for key in section.annotation.model_fields:  # type: ignore[union-attr]
            assert f"| `{key}` |" in page.split(f"## [{name}]")[1].split("## [")[0], key
