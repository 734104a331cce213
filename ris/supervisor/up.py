"""`manage.py up`: everything one machine needs, under one supervisor, which loads no Django and stays small."""

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from ris.environment import env, env_secret
from ris.supervisor import postgres, valkey
from ris.supervisor.errors import CannotStart
from ris.supervisor.listeners import Address, read_address, refuse_clear_text, refuse_taken
from ris.supervisor.places import Places
from ris.supervisor.postgres import EmbeddedPostgres
from ris.supervisor.services import Service, Stopping, Supervisor, say
from ris.supervisor.valkey import EmbeddedValkey

ROOT = Path(__file__).resolve().parent.parent.parent
LISTENERS = {"http": "127.0.0.1:8000", "mllp": "127.0.0.1:2575", "dicom": "127.0.0.1:11112"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="var", metavar="DIR", help="data directory (default: var)")
    for name, default in LISTENERS.items():
        parser.add_argument(
            f"--{name}",
            default=default,
            metavar="HOST:PORT",
            help=f"port 0 takes a free one (default: {default})",
        )
    parser.add_argument(
        "--mllps",
        metavar="HOST:PORT",
        help="a second HL7 listener over TLS, with RIS_TLS_CERTIFICATE, _KEY and _CA",
    )
    parser.add_argument(
        "--dicom-tls",
        metavar="HOST:PORT",
        help="the DICOM services over TLS as well, with the same files; port 2762 by custom",
    )
    parser.add_argument(
        "--seed", choices=("demo", "bare", "none"), default="none", help="what to fill in at first"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="Celery workers (default: 1)")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="manage.py up", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        given = {
            name: getattr(options, name.replace("-", "_")) for name in (*LISTENERS, "mllps", "dicom-tls")
        }
        addresses = {name: read_address(text) for name, text in given.items() if text}
        for name, address in addresses.items():
            refuse_clear_text(name, address)
        if options.workers < 1:
            raise CannotStart("--workers takes 1 or more.")
        with occupy(Path(options.data).resolve()) as places:
            for name, address in addresses.items():
                refuse_taken(f"--{name}", address)
            supervisor = Supervisor(places)
            try:
                bring_up(supervisor, addresses, options.seed, options.workers)
                supervisor.watch()
            finally:
                supervisor.stop()
                places.remove_run_directories()
    except Stopping:
        return 0
    except (CannotStart, ImproperlyConfigured) as refusal:
        say(str(refusal))
        return 1
    return 0


@contextmanager
def occupy(data: Path) -> Iterator[Places]:
    """Make the data directory and hold it: one `up` serves it at a time."""
    try:
        data.mkdir(mode=0o711, parents=True, exist_ok=True)
        places = Places(data)
        places.logs.mkdir(mode=0o700, exist_ok=True)
        lock = (data / "up.lock").open("a+", encoding="ascii")
    except OSError as problem:
        raise CannotStart(f"Cannot write to the data directory {data}: {problem.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStart(
                f"{data} is served by another `manage.py up` (process {lock.read().strip()}); "
                "stop it or name another --data directory."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield places


def bring_up(supervisor: Supervisor, addresses: dict[str, Address], seed: str, workers: int) -> None:
    places = supervisor.places
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "ris.settings",
        "RIS_DATA": str(places.data),
        "RIS_HTTP_LOOPBACK": "1" if addresses["http"].is_loopback else "0",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc's arena per thread costs far more memory than it saves time here
    }
    password = ""
    if (
        seed != "none"
        and env("RIS_ENV", "production") != "production"
        and not env_secret("RIS_SEED_PASSWORD")
    ):
        password = places.keep_secret("seed_password", size=9)
        environment["RIS_SEED_PASSWORD"] = password

    def program(name: str, *words: str, listen: Address | None = None) -> Service:
        """One of our own programs; a second start listens where the first one did."""
        return Service(
            name,
            lambda service: [sys.executable, *words, *(["--listen", service.address] if listen else [])],
            places.logs / f"{name}.log",
            address=str(listen or ""),
            popen={"env": environment, "cwd": ROOT},
        )

    start_stores(supervisor)
    manage = str(ROOT / "manage.py")
    prepare = program("prepare", manage, "prepare", "--seed", seed)
    prepare.popen["stdout"] = None  # its progress is the operator's to see
    supervisor.run(prepare)
    celery = ("-m", "celery", "-A", "ris")
    # Tasks wait for partners most of the time: threads of one process, not processes.
    worker = ("worker", "--pool", "threads", "--concurrency", "8", "--without-gossip", "--without-mingle")
    web = program("web", manage, "run_web", listen=addresses["http"])
    mllp = program("mllp", manage, "run_mllp", "--processes", "2", listen=addresses["mllp"])
    secure = (
        [program("mllps", manage, "run_mllp", "--tls", listen=addresses["mllps"])]
        if "mllps" in addresses
        else []
    )
    over_tls = ("--tls", str(addresses["dicom-tls"])) if "dicom-tls" in addresses else ()
    dicom = program("dicom", manage, "run_dicom", *over_tls, listen=addresses["dicom"])
    supervisor.start(
        web,
        mllp,
        *secure,
        dicom,
        *(
            program(name, *celery, *worker, "--hostname", f"{name}@%h")
            for name in ("worker", *(f"worker-{number}" for number in range(2, workers + 1)))
        ),
        program("beat", *celery, "beat", "--schedule", str(places.data / "beat-schedule"), "--pidfile="),
    )
    answer_health(read_address(web.address))
    if password:
        tell(f"Seeded users sign in with the password {password}")
    ready = {
        "http": f"http://{web.address}",
        "mllp": mllp.address,
        **{service.name: service.address for service in secure},
        "dicom": f"{env('RIS_AE_TITLE', 'LIGHTBOX')}@{dicom.address}",
        **({"dicom-tls": str(addresses["dicom-tls"])} if over_tls else {}),
        "data": str(places.data),
    }
    tell(f"READY {json.dumps(ready)}")


def start_stores(supervisor: Supervisor) -> None:
    """Start the embedded servers; an address in the environment names one that runs elsewhere."""
    places = supervisor.places
    found: list[Service] = []

    def store(name: str, server: EmbeddedPostgres | EmbeddedValkey, stop: signal.Signals) -> Service:
        server.prepare()
        return Service(
            name,
            lambda _: server.argv(),
            places.logs / f"{name}.log",
            answers=server.answers,
            is_store=True,
            stop=stop,
            death=stop,
            patience=20.0,  # the server of a supervisor killed just now may still be writing its last page
            popen=server.popen(),
        )

    database = None if env_secret("DATABASE_URL") else EmbeddedPostgres(places)
    if database is not None:
        if not env_secret("RIS_SECRET_KEY"):
            places.keep_secret("secret_key")
        found.append(store("postgres", database, postgres.STOP))
    if not env_secret("REDIS_URL"):
        found.append(store("valkey", EmbeddedValkey(places), valkey.STOP))
    supervisor.start(*found)
    if database is not None:
        database.make_database()


def answer_health(address: Address) -> None:
    """Ask the web, as a visitor would, whether all that it needs answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    end = time.monotonic() + 20
    while True:
        connection = HTTPConnection(host, address.port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            if answer.status < 500:
                return
        except OSError as problem:
            text = str(problem)
        finally:
            connection.close()
        if time.monotonic() > end:
            raise CannotStart(f"The web does not answer well: {text[:200]}")
        time.sleep(0.2)


def tell(line: str) -> None:
    print(line, flush=True)
