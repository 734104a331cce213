"""A wrong setting stops the start with a sentence."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from ris.supervisor.places import Places
from tests.stack import ROOT


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("RIS_UID_ROOT", "1.2.840.x", "ris.E001"),
        ("RIS_UID_ROOT", "1.02.840", "ris.E001"),
        ("RIS_UID_ROOT", "1." + "2" * 40, "ris.E001"),
        ("RIS_AE_TITLE", "LIGHTBOX_RADIOLOGY", "ris.E002"),
        ("RIS_AE_TITLE", " ", "ris.E002"),
        ("RIS_AE_TITLE", "LIGHT\\BOX", "ris.E002"),
        ("TIME_ZONE", "Europe/Berlin", "ris.E003"),
    ],
)
def test_the_checks_name_what_is_wrong(settings: Settings, name: str, value: Any, check: str) -> None:
    assert run_checks() == []
    setattr(settings, name, value)
    assert [message.id for message in run_checks()] == [check]


def manage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIS_", "DATABASE_", "REDIS_"))
    }
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", *words],
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RIS_ENV": "staging"}, "RIS_ENV is 'staging'; it takes one of: production, demo, test.\n"),
        (
            {"DATABASE_URL": "sqlite:///ris.db", "RIS_SECRET_KEY": "x"},
            "DATABASE_URL must begin with postgresql://; Lightbox runs on PostgreSQL only.\n",
        ),
        (
            {"DATABASE_URL": "postgresql://ris@127.0.0.1/ris"},
            "RIS_SECRET_KEY is not set; every process of one production system needs the same long random value.\n",
        ),
        (
            {"RIS_SECRET_KEY_FILE": "/nowhere"},
            "RIS_SECRET_KEY_FILE cannot be read: No such file or directory.\n",
        ),
    ],
)
def test_a_wrong_environment_ends_with_one_sentence(environment: dict[str, str], sentence: str) -> None:
    done = manage("check", **environment)
    assert (done.returncode, done.stderr) == (1, sentence)


def test_a_command_without_a_running_department_says_how_to_start_it(tmp_path: Path) -> None:
    done = manage("verify_audit", RIS_DATA=str(tmp_path))
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("The database does not answer: ")
    assert sentence.endswith("or name a running one in DATABASE_URL.")


def test_sockets_of_a_deep_directory_lie_elsewhere(tmp_path: Path) -> None:
    """A socket's path has 107 bytes."""
    near, deep = Places(Path("/srv/ris")), Places(tmp_path / ("x" * 100))
    assert near.postgres_run == Path("/srv/ris/postgres/run")
    assert len(os.fsencode(deep.valkey_socket)) < 107
    assert deep.postgres_run != deep.valkey_socket.parent
    assert deep.postgres_run != Places(tmp_path / ("y" * 100)).postgres_run


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert places.secret_key() == ""
    key = places.keep_secret("secret_key")
    assert places.keep_secret("secret_key") == places.secret_key() == key
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
