"""The PostgreSQL and Valkey of a test run: real, private, without durability, gone with the run."""

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ris.supervisor import postgres, valkey
from ris.supervisor.lifeline import lifeline
from ris.supervisor.places import OWNER, Places


def start() -> Places:
    # Not below pytest's own directory: a socket's path is short, and root's servers run as nobody.
    data = Path(tempfile.mkdtemp(prefix="ris-test-"))
    data.chmod(0o711)
    places = Places(data)
    database = postgres.EmbeddedPostgres(places, forgetful=True)
    broker = valkey.EmbeddedValkey(places)
    database.prepare()
    broker.prepare()
    running = []
    for server, death in ((database, postgres.STOP), (broker, valkey.STOP)):
        log = (data / f"{server.__class__.__name__}.log").open("ab")
        running.append(
            subprocess.Popen(
                server.argv(), stdout=log, stderr=log, preexec_fn=lifeline(death), **server.popen()
            )
        )
    atexit.register(_stop, running, data, os.getpid())
    end = time.monotonic() + 60
    while not (database.answers() and broker.answers()):
        if time.monotonic() > end or any(process.poll() is not None for process in running):
            logs = "".join(path.read_text() for path in data.glob("*.log"))
            raise RuntimeError(f"the test servers do not start:\n{logs}")
        time.sleep(0.02)
    database.make_database()
    return places


def _stop(running: list[subprocess.Popen[bytes]], data: Path, owner: int) -> None:
    if os.getpid() != owner:
        return
    for process in running:
        process.kill()
        process.wait(10)
    shutil.rmtree(data, ignore_errors=True)


def environment(places: Places) -> dict[str, str]:
    """The settings of a test run; the owner's role, because it makes and empties test databases."""
    return {
        "DJANGO_SETTINGS_MODULE": "ris.settings",
        "DATABASE_URL": places.database_url(OWNER),
        "REDIS_URL": places.redis_url,
        "RIS_DATA": str(places.data),
        "RIS_ENV": "test",
        "RIS_SECRET_KEY": "only-for-tests",
    }
