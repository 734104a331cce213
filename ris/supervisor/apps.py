from importlib import import_module

from django.apps import AppConfig


class SupervisorConfig(AppConfig):
    name = "ris.supervisor"

    def ready(self) -> None:
        # Every process that sends a task needs the broker's address, and every command the checks.
        import_module("ris.celery")
        import_module("ris.checks")
