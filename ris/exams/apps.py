from django.apps import AppConfig


class ExamsConfig(AppConfig):
    name = "ris.exams"
