"""Run an MLLP listener alone; `manage.py up` runs one in clear text, and with `--mllps` a second one over TLS."""

import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from interfaces import tls
from interfaces.hl7 import receiver
from interfaces.hl7.listener import Listener
from interfaces.serving import open_port, serve
from ris.supervisor.listeners import own_address

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Receive HL7 v2 messages over MLLP."
    requires_system_checks = ["ris"]  # the pages' own checks would load every page

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:2575", metavar="HOST:PORT")
        parser.add_argument(
            "--tls", action="store_true", help="take only partners with a certificate (ITI-19)"
        )

        parser.add_argument(
            "--processes", type=int, default=1, metavar="N", help="processes that share the port (default: 1)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = own_address("mllps" if options["tls"] else "mllp", options["listen"])
        try:
            context = tls.server_context() if options["tls"] else None
        except tls.NotSetUp as problem:
            raise CommandError(f"{problem}.") from None
        # What a killed listener had stored comes before anything new.
        recovered = receiver.recover()
        if recovered:
            log.info("%s stored messages applied after a restart", recovered)
        connections.close_all()
        shared = open_port(host, port)
        serve(lambda: Listener(context=context, shared=shared), host, port, processes=options["processes"])
