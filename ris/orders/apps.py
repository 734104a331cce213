from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "ris.orders"
