"""Read HL7 messages from a file, as if their sender had sent them: a batch (FHS, BHS), or one after the other."""

import sys
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from interfaces.hl7 import batches, er7, receiver
from interfaces.hl7.line import read_answer
from interfaces.models import Endpoint


class Command(BaseCommand):
    help = "Apply the HL7 messages of a file, each stored and answered as if it had come over the line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="- reads the standard input")
        parser.add_argument(
            "--endpoint", metavar="NAME", help="whose messages these are; by MSH-3 and MSH-4 when left out"
        )
        parser.add_argument("--answers", metavar="FILE", help="write the answers here, a batch for a batch")

    def handle(self, *args: Any, **options: Any) -> None:
        name: str = options["file"]
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            batch = batches.read(raw, from_file=True)
        except OSError as error:
            raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
        except er7.Unreadable as error:
            raise CommandError(error.message) from None
        endpoint = None
        if options["endpoint"]:
            endpoint = Endpoint.objects.filter(name=options["endpoint"], direction="in", active=True).first()
            if endpoint is None:
                raise CommandError(f"There is no sender {options['endpoint']}.")
        answers = [receiver.take(message, f"file {Path(name).name}", endpoint) for message in batch.messages]
        outcomes = Counter(read_answer(answer).code for answer in answers)
        if options["answers"]:
            Path(options["answers"]).write_bytes(batches.answer(batch, answers, f"F{len(answers)}"))
        self.stdout.write(", ".join(f"{count} {code}" for code, count in sorted(outcomes.items())))
        if set(outcomes) - {"AA"}:
            raise CommandError("Not all messages were accepted; the monitor shows why.")
