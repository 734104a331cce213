from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class ExamsConfig(AppConfig):
    name = "ris.exams"

    def ready(self) -> None:
        # Apps above say what they know of an exam's end (ris.exams.completion.shows_the_end).
        autodiscover_modules("evidence")
