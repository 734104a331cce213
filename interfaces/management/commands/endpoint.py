"""Create, change, pause or remove a partner from a script (contract.md, Configuring from a script)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from interfaces import actions, tls
from interfaces.hl7 import profile as profiles
from interfaces.models import FACT_GROUPS, Direction, Endpoint, OnAmbiguous, Protocol
from ris.accounts.models import system_user
from ris.core import certificates
from ris.core.errors import RisError

#: Profile keys that are columns of Endpoint.
_COLUMNS = {
    "version": "hl7_version",
    "encoding": "encoding",
    "sending_application": "sending_application",
    "sending_facility": "sending_facility",
    "receiving_application": "receiving_application",
    "receiving_facility": "receiving_facility",
    "answer_timeout": "answer_timeout",
    "on_ambiguous": "on_ambiguous",
}


class Command(BaseCommand):
    help = "Create or change a partner that sends us messages or gets them from us."

    def add_arguments(self, parser: ArgumentParser) -> None:
        keys = "\n".join(f"  {key}: {choice.meaning}" for key, choice in profiles.CHOICES.items())
        parser.epilog = f"profile keys: {', '.join(_COLUMNS)},\n{keys}"
        parser.add_argument("name")
        parser.add_argument("--protocol", choices=Protocol.values)
        parser.add_argument("--direction", choices=Direction.values)
        parser.add_argument("--address", help="HOST:PORT, or a URL for dicomweb")
        parser.add_argument("--ae-title", help="for dicom")
        parser.add_argument(
            "--match", metavar="SENDING_APP|SENDING_FACILITY", help="MSH-3 and MSH-4 of what comes in"
        )
        parser.add_argument("--facts", help=f"what it is told, of {','.join(FACT_GROUPS)}")
        parser.add_argument("--profile", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
        secure = parser.add_mutually_exclusive_group()
        secure.add_argument(
            "--tls", action="store_true", default=None, help="MLLP over TLS, certificates on both sides"
        )
        secure.add_argument("--no-tls", action="store_false", dest="tls")
        parser.add_argument(
            "--certificate",
            metavar="PEMFILE",
            help="bind the partner to this certificate; '' lets it show any",
        )
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--pause", action="store_true")
        state.add_argument("--resume", action="store_true")
        state.add_argument("--delete", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except RisError as error:
            raise CommandError(error.message) from None

    @transaction.atomic
    def _handle(self, options: dict[str, Any]) -> None:
        name: str = options["name"]
        shell = system_user("shell")
        known = Endpoint.objects.filter(name=name, active=True).first()
        if options["delete"]:
            if known is None:
                raise CommandError(f"There is no partner {name}.")
            actions.retire_endpoint(known, by=shell)
            self.stdout.write(f"{name} removed")
            return
        values = self._values(options)
        if known is None and not options["protocol"]:
            raise CommandError(f"There is no partner {name}; a new one needs --protocol.")
        endpoint = actions.configure_endpoint(name, values, by=shell)
        self.stdout.write(f"{name} {endpoint.protocol} {endpoint.direction} {endpoint.address}".rstrip())

    def _values(self, options: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {
            column: options[column]
            for column in ("protocol", "direction", "address", "ae_title")
            if options[column] is not None
        }
        if options["match"] is not None:
            application, _, facility = options["match"].partition("|")
            values["match_application"], values["match_facility"] = application.strip(), facility.strip()
        if options["tls"] is not None:
            values["tls"] = options["tls"]
        if options["certificate"] is not None:
            path = options["certificate"]
            der = tls.certificate_in(path) if path else b""
            values["certificate_fingerprint"] = certificates.fingerprint(der)
            values["certificate_ends_at"] = certificates.ends_at(der) if der else None
        if options["facts"] is not None:
            values["facts"] = [fact.strip() for fact in options["facts"].split(",") if fact.strip()]
        profile: dict[str, str] = {}
        for pair in options["profile"]:
            key, equals, value = pair.partition("=")
            if not equals:
                raise CommandError(f"--profile takes KEY=VALUE, not {pair}.")
            if key == "answer_timeout":
                if not value.isdigit() or not 1 <= int(value) <= 600:
                    raise CommandError("answer_timeout takes 1 to 600 seconds.")
                values[key] = int(value)
            elif key == "on_ambiguous" and value not in OnAmbiguous.values:
                raise CommandError(f"on_ambiguous takes {', '.join(OnAmbiguous.values)}.")
            elif key in _COLUMNS:
                values[_COLUMNS[key]] = value
            else:
                profile[key] = value
        if profile:
            values["profile"] = profile
        if options["pause"] or options["resume"]:
            values["paused"] = bool(options["pause"])
        return values
