"""An EMR simulator for site tests and training; needs no database. See `interfaces.hl7.peer`."""

import signal
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from interfaces.hl7.peer import ANSWERS, Ear, Ledger, Manners, Mouth, Script, messages
from ris.supervisor.listeners import read_address


class Command(BaseCommand):
    help = "Play the EMR: send invented patients and orders, hear results, answer well or badly."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", metavar="HOST:PORT", help="hear what is sent to the EMR")
        parser.add_argument("--send", metavar="HOST:PORT", help="where Lightbox listens for MLLP")
        parser.add_argument("--adt", type=int, default=5, metavar="N", help="patients to register (5)")
        parser.add_argument("--orders", type=int, default=5, metavar="N", help="orders to place (5)")
        parser.add_argument("--rate", type=float, default=2.0, metavar="R", help="messages a second (2)")
        parser.add_argument(
            "--answer", choices=ANSWERS, default="aa", help="how to answer what is heard (aa)"
        )
        parser.add_argument(
            "--late", type=float, default=35.0, metavar="SECONDS", help="how late a late answer is (35)"
        )
        parser.add_argument(
            "--na",
            choices=("yes", "no"),
            default="yes",
            help="answer SN with ORR NA and a placer number (yes)",
        )
        parser.add_argument("--application", default="EMRSIM", help="MSH-3 (EMRSIM)")
        parser.add_argument("--facility", default="SIMHOSP", help="MSH-4 (SIMHOSP)")
        parser.add_argument("--ledger", type=Path, help="write every step to this JSONL file first")
        parser.add_argument("--seed", type=int, default=1, help="another seed invents other people (1)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["listen"] or options["send"]):
            raise CommandError("Nothing to do: name where to --listen, where to --send, or both.")
        if options["rate"] <= 0:
            raise CommandError("--rate takes a number above 0.")
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ledger = Ledger(options["ledger"])
        ear = Ear(
            Manners(options["answer"], options["late"], options["na"] == "yes"), ledger, self._say,
            seed=options["seed"],
        )  # fmt: skip
        if options["listen"]:
            self._listen(ear, options["listen"])
        refused = self._send(options, ledger, ended) if options["send"] else 0
        if options["listen"]:
            ended.wait()
            ear.close()
            heard = ", ".join(f"{count} {kind}" for kind, count in sorted(ear.heard.items()))
            self._say(f"heard in all: {heard or 'nothing'}")
        elif refused:
            raise CommandError(f"{refused} messages were not accepted.")

    def _listen(self, ear: Ear, where: str) -> None:
        address = read_address(where)
        try:
            host, port = ear.listen(address.host, address.port)
        except OSError as problem:
            raise CommandError(f"Cannot listen on {where}: {problem.strerror}.") from None
        self._say(f"LISTENING {host}:{port}")

    def _send(self, options: dict[str, Any], ledger: Ledger, ended: threading.Event) -> int:
        """Send the script while SIGINT and SIGTERM may end it; how many were not accepted."""
        address = read_address(options["send"])
        script = Script(options["adt"], options["orders"], options["application"], options["facility"])
        # Seconds since 2026: short, and never the same in two runs.
        run = f"S{int(time.time()) - 1_767_225_600}"
        with Mouth((address.host, address.port), ledger, self._say) as mouth:
            sending = threading.Thread(
                target=mouth.send_all, args=(messages(script, run=run, seed=options["seed"]), options["rate"])
            )
            sending.start()
            while sending.is_alive():
                if ended.wait(0.1):
                    mouth.end()
                    sending.join(5)
        said = ", ".join(f"{count} {code}" for code, count in sorted(mouth.answers.items()))
        self._say(f"sent in all: {said or 'nothing'}")
        return mouth.answers.total() - mouth.answers["AA"] - mouth.answers["CA"]

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
