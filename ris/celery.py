"""The Celery application. Its messages are wake-ups and ids; what has to be done stands in PostgreSQL."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ris.settings")

app = Celery("ris")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_as_django_does(**_: Any) -> None:
    """Celery leaves logging alone once somebody is connected here; the settings have configured it."""


@worker_ready.connect
@beat_init.connect
def _say_ready(**_: Any) -> None:
    """Tell the supervisor, which reads our standard output."""
    print("LISTENING", flush=True)
