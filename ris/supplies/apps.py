from django.apps import AppConfig


class SuppliesConfig(AppConfig):
    name = "ris.supplies"
