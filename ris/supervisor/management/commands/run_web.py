import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from ris.supervisor.lifeline import die_with_parent
from ris.supervisor.listeners import Address, own_address


class Command(BaseCommand):
    help = "Serve the pages and the APIs with gunicorn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT")
        parser.add_argument("--processes", type=int, default=2)
        parser.add_argument("--threads", type=int, default=8, help="threads of each process")

    def handle(self, *args: Any, **options: Any) -> None:
        address = own_address("http", options["listen"])
        if settings.RIS_ENV == "demo" and not settings.RIS_MFA_REQUIRED and not address.is_loopback:
            raise CommandError(
                "A demo that lets seeded users in without a second factor listens on loopback only."
            )
        Web(address, options["processes"], options["threads"]).run()


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Gives a connection a thread when something has come on it. Its parent waits five seconds in a thread first, so
    that a few dozen silent peers keep everybody out."""

    def handle(self, conn: TConn) -> Any:
        if not conn.initialized and not conn.wait_for_data(0):
            return _DEFER
        return super().handle(conn)


class Web(BaseApplication):  # type: ignore[misc]
    def __init__(self, address: Address, processes: int, threads: int) -> None:
        self.options = {
            "bind": str(address),
            "workers": processes,
            "threads": threads,
            "worker_class": PatientWorker,
            "preload_app": True,  # the processes share what the first one loaded
            "timeout": 60,
            "graceful_timeout": 4,
            "keepalive": 15,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
            "control_socket_disable": True,
            "when_ready": say_listening,
            "post_fork": tie_to_first,
            "loglevel": "warning",
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from ris.wsgi import application

        return application


def say_listening(arbiter: Any) -> None:
    """Tell the supervisor, which reads our standard output."""
    host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
    print(f"LISTENING {Address(host, port)}", flush=True)


def tie_to_first(arbiter: Any, worker: Any) -> None:
    die_with_parent(worker.ppid)
