"""Every test runs on a real PostgreSQL and a real Valkey, started once for the run."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker
from xdist.scheduler import LoadScopeScheduling

from ris.supervisor.places import APPLICATION
from ris.supervisor.roles import grant
from tests import servers
from tests.browser import chromium, context, open_as  # noqa: F401 - fixtures
from tests.peers.archive import DICOMWEB
from tests.stack import Stack

# Settings are read when they are first touched, so the environment stands before Django does.
# Under xdist the first process starts the servers and its workers inherit their addresses.
if "RIS_TEST_SERVERS" not in os.environ:
    os.environ.update(servers.environment(servers.start()), RIS_TEST_SERVERS="1")
django.setup()

PEERS = {
    "dcmtk": "/usr/bin/findscu",
    "orthanc": "Orthanc",
    "orthanc-dicomweb": str(DICOMWEB),
    "chromium": "/usr/bin/chromium",
}


#: What a busy machine can make late is tried once more, and listed as such: a wait that ended, never a wrong value.
LATE = ["Locator expected", "TimeoutError", r"not within [\d.]+ s"]
#: Tests that start whole departments.
DEPARTMENTS = ("tests/flows/", "tests/faults/", "tests/supervisor/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The departments come first: they take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(DEPARTMENTS))
    for item in items:
        item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=LATE))


class ByDepartment(LoadScopeScheduling):
    """With two workers, one runs the departments, one after the other: two at once starve each other. The rest is
    shared out by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "departments" if file.startswith(DEPARTMENTS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByDepartment:
    return ByDepartment(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("peer"):
        for peer in marker.args:
            if shutil.which(PEERS[peer]) is None and not Path(PEERS[peer]).is_file():
                missing = f"{peer} is not installed (apt-get install {peer})"
                if os.environ.get("CI") == "true":
                    pytest.fail(missing, pytrace=False)
                pytest.skip(missing)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The test database, with the rights that the running services have."""
    with django_db_blocker.unblock():
        grant(APPLICATION)


@pytest.fixture
def as_application(db: None) -> None:
    """Run the rest of the test with a running service's rights: no DDL, append-only rows stay as they are."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {APPLICATION}")


@pytest.fixture(scope="session", autouse=True)
def _tests_may_empty_append_only_tables() -> None:
    """Django empties the tables after a test that commits; only the cluster's superuser can pass the guards."""
    # On the class: beside a running event loop (Playwright's) the thread has a second connection object.
    operations = type(connection.ops)
    flush = operations.sql_flush

    def guarded_flush(self: object, *args: object, **kwargs: object) -> list[str]:
        statements: list[str] = flush(self, *args, **kwargs)  # type: ignore[arg-type]
        return ["SET LOCAL session_replication_role = replica", *statements]

    operations.sql_flush = guarded_flush  # type: ignore[assignment, method-assign]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts departments of the test's own: `up()` waits for READY; see `Stack` for what it takes."""
    stacks: list[Stack] = []

    def start(name: str = "data", *arguments: str, **choices: str) -> Stack:
        stacks.append(Stack(tmp_path / name, *arguments, **choices))
        return stacks[-1].start()

    yield start
    for stack in stacks:
        stack.__exit__(None, None, None)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One department with the bare seed, shared by all tests that only use it."""
    with Stack(tmp_path_factory.mktemp("stack") / "data") as shared:
        yield shared


@pytest.fixture(autouse=True)
def _what_the_shell_keeps_does_not_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rail counts live some seconds; on a slow machine they would end in the middle of a count of queries."""
    cache.clear()
    monkeypatch.setattr(LocMemCache, "get_backend_timeout", lambda self, timeout=None: None)
