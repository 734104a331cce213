"""`manage.py up` as an operator sees it (contract.md)."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from celery import Celery

from ris.supervisor.places import APPLICATION, DATABASE, OWNER
from tests.stack import Stack, still_running, until

pytestmark = pytest.mark.timeout(300)  # whole departments start here
Up = Callable[..., Stack]


def healthz(stack: Stack) -> dict[str, str]:
    with urllib.request.urlopen(f"{stack.http}/healthz", timeout=5) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def is_well(stack: Stack) -> bool:
    try:
        return set(healthz(stack).values()) == {"ok"}
    except OSError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A department of this module's own: its services get killed."""
    with Stack(tmp_path_factory.mktemp("up") / "data", seed="none") as stack:
        yield stack


def test_ready_is_said_once_and_names_where_everything_listens(running: Stack) -> None:
    assert [line for line in running.said().splitlines() if line.startswith("READY ")] == [
        f"READY {json.dumps(running.ready)}"
    ]
    assert running.ready["data"] == str(running.places.data)
    assert running.dicom[0] == "LIGHTBOX"
    for address in (running.mllp, running.dicom[1:]):
        socket.create_connection(address, timeout=5).close()
    assert healthz(running) == {"web": "ok", "database": "ok", "broker": "ok"}


def test_health_names_the_store_that_does_not_answer(running: Stack) -> None:
    running.kill("valkey", signal.SIGSTOP)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{running.http}/healthz", timeout=20)
        assert refused.value.code == 503
        assert json.load(refused.value) == {"web": "ok", "database": "ok", "broker": "does not answer"}
    finally:
        running.kill("valkey", signal.SIGCONT)
    until(lambda: is_well(running), 10, "healthz is well again")


def test_queues_can_be_watched(running: Stack) -> None:
    with urllib.request.urlopen(f"{running.http}/metrics", timeout=5) as answer:
        assert "lightbox_database_up 1.0" in answer.read().decode()


def test_services_run_without_the_owner_s_rights(running: Stack) -> None:
    roles = running.query(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'ris' AND pid <> pg_backend_pid()"
    )
    assert roles == [("ris_app",)]


@pytest.mark.parametrize("name", ["web", "mllp", "dicom", "worker", "beat", "valkey", "postgres"])
def test_a_killed_service_comes_back_where_it_was(running: Stack, name: str) -> None:
    before = running.services()[name]
    running.kill(name)
    running.wait_back(name, before["restarts"] + 1)
    assert running.services()[name]["address"] == before["address"]
    until(lambda: is_well(running), 10, "healthz is well again")


def test_background_work_goes_on_after_its_stores_died(running: Stack) -> None:
    app = Celery(broker=running.places.redis_url, set_as_current=False)

    def relayed() -> int:
        """How often the relay was started; a worker that came back counts anew."""
        worker = next(iter((app.control.inspect(timeout=2).stats() or {}).values()), {"total": {}})
        return int(worker["total"].get("ris.events.tasks.relay", 0))

    for name in ("valkey", "postgres"):
        restarts = running.services()[name]["restarts"]
        running.kill(name)
        running.wait_back(name, restarts + 1)
        before = until(relayed, 20, f"the worker hears its beat without {name}'s first process")
        until(lambda before=before: relayed() > before, 20, "the relay goes on")
    assert running.services()["worker"]["ready"]


def test_a_second_up_on_the_same_directory_is_refused(running: Stack) -> None:
    second = Stack(running.places.data, seed="none")
    second.output = running.output.with_name("second.out")
    second.begin()
    assert second.process is not None
    assert running.process is not None
    assert second.process.wait(20) == 1
    assert second.said().splitlines() == [
        f"{running.places.data} is served by another `manage.py up` (process {running.process.pid}); "
        "stop it or name another --data directory."
    ]


def test_a_taken_port_is_refused_in_one_sentence_that_names_the_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        stack = Stack(tmp_path / "data", "--mllp", f"127.0.0.1:{port}", seed="none")
        stack.begin()
        assert stack.process is not None
        assert stack.process.wait(20) == 1
    (sentence,) = stack.said().splitlines()
    assert sentence.startswith(f"127.0.0.1:{port} is taken by ")
    assert sentence.endswith(f"(process {os.getpid()}); stop it or choose another port with --mllp.")


def test_data_outlives_a_stop_and_the_supervisor_s_death(up: Up) -> None:
    stack = up(seed="none")
    stack.query("CREATE TABLE kept (word text)")
    stack.query("INSERT INTO kept VALUES ('before the stop')")
    processes = stack.processes()
    begun = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - begun < 10
    assert not still_running(processes)

    begun = time.monotonic()
    stack.start()
    # Ten seconds on a machine that has nothing else to do.
    assert time.monotonic() - begun < 10 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    stack.query("INSERT INTO kept VALUES ('before the kill')")
    processes = stack.processes()
    assert stack.process is not None
    stack.process.kill()
    killed = time.monotonic()
    stack.process.wait(5)
    stack.begin()  # at once, while what was left is still on its way out
    until(lambda: not still_running(processes), 10 - (time.monotonic() - killed), "nothing is left running")
    until(stack.is_ready, 120, "READY")
    assert stack.query("SELECT word FROM kept") == [("before the stop",), ("before the kill",)]


def test_files_of_another_postgresql_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data/postgres/data").mkdir(parents=True)
    (tmp_path / "data/postgres/data/PG_VERSION").write_text("12\n")
    stack = Stack(tmp_path / "data", seed="none")
    stack.begin()
    assert stack.process is not None
    assert stack.process.wait(20) == 1
    (sentence,) = stack.said().splitlines()
    assert "was written by PostgreSQL 12, but 18 is installed" in sentence


def test_another_department_may_run_beside_on_servers_named_in_the_environment(
    running: Stack, up: Up
) -> None:
    server, broker = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    owner = psycopg2.connect(server)
    owner.autocommit = True
    with owner.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS elsewhere")
        cursor.execute("CREATE DATABASE elsewhere")
    owner.close()
    owners = server.replace(f"/{DATABASE}?", "/elsewhere?")
    stack = up(
        "other",
        seed="none",
        DATABASE_URL=owners.replace(f"user={OWNER}", f"user={APPLICATION}"),
        RIS_MIGRATE_DATABASE_URL=owners,
        REDIS_URL=broker.replace("virtual_host=0", "virtual_host=1"),
    )
    assert sorted(stack.services()) == ["beat", "dicom", "mllp", "web", "worker"]
    assert not stack.places.postgres.exists()
    assert is_well(stack)
    assert is_well(running)
    running.query("CREATE TABLE mine (id int)")
    with psycopg2.connect(owners) as elsewhere, elsewhere.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_tables WHERE tablename = 'mine'")
        assert cursor.fetchone() is None
