"""Run the DICOM services alone; `manage.py up` runs them beside the others."""

import resource
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from interfaces.dicom.ae import MAX_CONNECTIONS
from interfaces.dicom.listener import Listener
from interfaces.serving import serve
from ris.supervisor.listeners import own_address


class Command(BaseCommand):
    help = "Answer C-ECHO, Modality Worklist C-FIND and MPPS."
    requires_system_checks = ["ris"]  # the pages' own checks would load every page

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:11112", metavar="HOST:PORT")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = own_address("dicom", options["listen"])
        _allow_open_files(MAX_CONNECTIONS + 100)
        serve(Listener, host, port)


def _allow_open_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
