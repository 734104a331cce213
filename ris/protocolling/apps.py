from django.apps import AppConfig


class ProtocollingConfig(AppConfig):
    name = "ris.protocolling"
