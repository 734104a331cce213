from django.apps import AppConfig
from django.core.checks import register


class InterfacesConfig(AppConfig):
    name = "interfaces"

    def ready(self) -> None:
        from interfaces import alarms, tls

        register(tls.settings_check, "ris")
        register(alarms.settings_check, "ris")
