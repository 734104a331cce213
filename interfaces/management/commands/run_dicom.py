"""Run the DICOM services alone; `manage.py up` runs them beside the others, and with `--dicom-tls` over TLS as well."""

import resource
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from interfaces import tls
from interfaces.dicom.ae import MAX_CONNECTIONS
from interfaces.dicom.listener import Listener
from interfaces.serving import serve
from ris.supervisor.listeners import own_address


class Command(BaseCommand):
    help = "Answer C-ECHO, Modality Worklist C-FIND and MPPS."
    requires_system_checks = ["ris"]  # the pages' own checks would load every page

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default="127.0.0.1:11112", metavar="HOST:PORT")
        parser.add_argument(
            "--tls",
            metavar="HOST:PORT",
            help="answer over TLS here as well, port 2762 by custom, whoever shows a certificate of our CA (BCP 195)",
        )
        for name, what in (("certificate", "ours"), ("key", "its key"), ("ca", "whose certificates we take")):
            parser.add_argument(
                f"--{name}", metavar="FILE", help=f"{what}, PEM (default: RIS_TLS_{name.upper()})"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = own_address("dicom", options["listen"])
        for name in ("certificate", "key", "ca"):
            if options[name]:
                setattr(settings, f"RIS_TLS_{name.upper()}", options[name])
        secure = None
        if options["tls"]:
            try:
                secure = (*own_address("dicom-tls", options["tls"]), tls.server_context())
            except tls.NotSetUp as problem:
                raise CommandError(f"{problem}.") from None
        folder = settings.RIS_DATA / "dicom"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise CommandError(
                f"Cannot write to {folder}, where reports are kept without a database: {problem.strerror}."
            ) from None
        _allow_open_files(2 * MAX_CONNECTIONS)
        serve(lambda: Listener(secure), host, port)


def _allow_open_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
