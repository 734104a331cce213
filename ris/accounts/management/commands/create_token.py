from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ris.accounts.models import User, create_token


class Command(BaseCommand):
    help = "Print a new API token for a user; it is shown only now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"No active user is called {username}.")
        self.stdout.write(create_token(user))
