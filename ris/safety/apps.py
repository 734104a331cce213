from django.apps import AppConfig


class SafetyConfig(AppConfig):
    name = "ris.safety"
