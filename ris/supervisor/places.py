"""Where an embedded department keeps its things: everything follows from the data directory alone.

Settings read this file before Django exists, so it imports nothing but the standard library.
"""

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

OWNER = "ris"  # owns the tables, migrates
APPLICATION = "ris_app"  # what every running service connects as
DATABASE = "ris"

_LONGEST_SOCKET_PATH = 107  # bytes; sockaddr_un.sun_path less its final zero


@dataclass(frozen=True)
class Places:
    data: Path

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def postgres_run(self) -> Path:
        return self._run_directory("postgres", ".s.PGSQL.5432")

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"

    @property
    def valkey_socket(self) -> Path:
        return self._run_directory("valkey", "valkey.sock") / "valkey.sock"

    @property
    def logs(self) -> Path:
        return self.data / "log"

    @property
    def status(self) -> Path:
        """What `up` runs right now: addresses and process ids."""
        return self.data / "services.json"

    def database_url(self, role: str = APPLICATION) -> str:
        return f"postgresql:///{DATABASE}?user={role}&host={quote(str(self.postgres_run))}"

    @property
    def redis_url(self) -> str:
        return f"redis+socket://{quote(str(self.valkey_socket))}?virtual_host=0"

    def secret_key(self) -> str:
        """The key `up` made for this directory; empty before its first start."""
        try:
            return (self.data / "secret_key").read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def keep_secret(self, name: str, size: int = 48) -> str:
        """Read the secret `name` of this directory; the first call makes it."""
        path = self.data / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(size) + "\n")
        return path.read_text(encoding="ascii").strip()

    def remove_run_directories(self) -> None:
        """Remove the socket directories that lie outside the data directory."""
        for path in (self.postgres_run, self.valkey_socket.parent):
            if not path.is_relative_to(self.data):
                shutil.rmtree(path, ignore_errors=True)

    def _run_directory(self, name: str, socket: str) -> Path:
        short = self.data / name / "run"
        if len(os.fsencode(short / socket)) <= _LONGEST_SOCKET_PATH:
            return short
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path("/run" if os.geteuid() == 0 else "/tmp") / f"lightbox-{os.geteuid()}-{digest}-{name}"


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once with a file only its owner can read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
