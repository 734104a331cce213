from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from interfaces.seeds.messages import Messages
from interfaces.seeds.objects import Objects


class Command(BaseCommand):
    help = "Receive and tell invented messages and objects; a part of `seed demo`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--number", type=int, default=1)

    @transaction.atomic
    def handle(self, *args: Any, number: int, **options: Any) -> None:
        Messages(number).seed()
        Objects(number).seed()
