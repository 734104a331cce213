"""Run the DICOM services alone; `manage.py up` runs them beside the others."""

import asyncio
import os
import resource
import signal
import sys
from argparse import ArgumentParser
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from interfaces.dicom.ae import MAX_CONNECTIONS
from interfaces.dicom.listener import Listener
from ris.supervisor.listeners import own_address


class Command(BaseCommand):
    help = "Answer C-ECHO, Modality Worklist C-FIND and MPPS."
    requires_system_checks = ["ris"]  # the pages' own checks would load every page

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:11112", metavar="HOST:PORT")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = own_address("dicom", options["listen"])
        _allow_open_files(MAX_CONNECTIONS + 100)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            clean = runner.run(self._run(host, port))
        if not clean:
            # A thread that waits for the database would hold the exit; its transaction ends with us.
            sys.stdout.flush()
            os._exit(0)

    async def _run(self, host: str, port: int) -> bool:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        listener = Listener()
        try:
            bound_host, bound_port = await listener.start(host, port)
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error
        self.stdout.write(f"LISTENING {bound_host}:{bound_port}")
        self.stdout.flush()
        await stop.wait()
        return await listener.stop()


def _allow_open_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
