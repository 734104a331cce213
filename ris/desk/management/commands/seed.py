from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ris.desk.seeds.bare import is_seeded, seed_bare
from ris.desk.seeds.demo import PATIENTS, seed_demo
from ris.environment import env_secret


class Command(BaseCommand):
    help = (
        "Fill an empty department: `bare` with rooms, catalogue and users; `demo` with invented life as well."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=("bare", "demo"))
        parser.add_argument(
            "--number", type=int, default=1, help="another number, another invented department"
        )
        parser.add_argument(
            "--patients", type=int, default=PATIENTS, help=f"invented patients (default: {PATIENTS})"
        )

    def handle(self, *args: Any, kind: str, number: int, patients: int, **options: Any) -> None:
        if settings.RIS_ENV == "production":
            raise CommandError(
                "Seeds make users whose names everybody knows; with RIS_ENV=production there are none. "
                "Use --seed none, or set RIS_ENV=demo."
            )
        if not is_seeded():
            password = env_secret("RIS_SEED_PASSWORD")
            if not password:
                raise CommandError("Set RIS_SEED_PASSWORD: the password with which the seeded users sign in.")
            seed_bare(password)
            self._say("Harbour Imaging is set up: rooms, machines, catalogue, users")
        if kind == "demo":
            seed_demo(number, self._say, patients=patients)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
