"""Run the MLLP listener alone; `manage.py up` runs it beside the other services."""

import asyncio
import logging
import os
import signal
import sys
from argparse import ArgumentParser
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from interfaces.hl7 import receiver
from interfaces.hl7.listener import Listener
from ris.supervisor.listeners import own_address

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Receive HL7 v2 messages over MLLP."
    requires_system_checks = ["ris"]  # the pages' own checks would load every page

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:2575", metavar="HOST:PORT")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = own_address("mllp", options["listen"])
        # What a killed listener had stored comes before anything new.
        recovered = receiver.recover()
        if recovered:
            log.info("%s stored messages applied after a restart", recovered)
        connections.close_all()
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
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
        self.stdout.write(f"LISTENING {bound_host}:{bound_port}")
        self.stdout.flush()
        await stop.wait()
        return await listener.stop()
