import sys

from django.core.management.base import BaseCommand

from ris.supervisor import up


class Command(BaseCommand):
    help = up.__doc__ or ""

    def run_from_argv(self, argv: list[str]) -> None:
        sys.exit(up.main(argv[2:]))
