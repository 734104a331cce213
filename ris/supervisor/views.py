"""What watches a department from outside: is it well, and how long are its queues."""

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ris.accounts.doors import public

PATIENCE = 1.0  # seconds the broker may take to answer before it counts as down


@public
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 when every service that a user depends on answers, else 503; by name which one does not."""
    answers = {"web": True, "database": database_answers(), "broker": broker_answers()}
    return JsonResponse(
        {name: "ok" if answer else "does not answer" for name, answer in answers.items()},
        status=200 if all(answers.values()) else 503,
    )


def database_answers() -> bool:
    with contextlib.suppress(Error), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return True
    return False


def broker_answers() -> bool:
    options = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    broker = current_app.connection_for_write(transport_options=options)
    with broker, contextlib.suppress(OperationalError, *broker.connection_errors):
        channel: Any = broker.channel()  # Redis's own, with its client
        return bool(channel.client.ping())
    return False


@public
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    registry = CollectorRegistry()
    registry.register(Queues())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Queues(Collector):
    """The lengths and ages of the queues, asked of the database: every process tells the same."""

    def collect(self) -> Iterator[Metric]:
        if not database_answers():
            yield GaugeMetricFamily("lightbox_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("lightbox_database_up", "Whether the database answers.", 1)
        yield from self._queue(
            "lightbox_deliveries_open",
            "Facts that a subscriber has not heard.",
            "subscriber",
            "SELECT subscriber, count(*) FROM events_delivery WHERE done_at IS NULL GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_deliveries_oldest_seconds",
            "Age of the oldest fact that a subscriber has not heard.",
            "subscriber",
            "SELECT subscriber, extract(epoch FROM now() - min(e.at)) FROM events_delivery d"
            " JOIN events_event e ON e.id = d.event_id WHERE done_at IS NULL GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_inbound_open",
            "Messages received and not applied.",
            "status",
            "SELECT status, count(*) FROM interfaces_inboundmessage WHERE status = 'received' GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_outbound_open",
            "Messages to a partner that it has not accepted.",
            "endpoint",
            "SELECT p.name, count(*) FROM interfaces_outboundmessage m"
            " JOIN interfaces_endpoint p ON p.id = m.endpoint_id"
            " WHERE m.status IN ('queued', 'sent', 'rejected', 'held') GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_outbound_oldest_seconds",
            "Age of the oldest message to a partner that still is to be sent.",
            "endpoint",
            "SELECT p.name, extract(epoch FROM now() - min(m.created_at)) FROM interfaces_outboundmessage m"
            " JOIN interfaces_endpoint p ON p.id = m.endpoint_id WHERE m.status IN ('queued', 'sent') GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_alarms_open",
            "Alarms that have not cleared.",
            "rule",
            "SELECT rule, count(*) FROM interfaces_alarm WHERE cleared_at IS NULL GROUP BY 1",
        )
        yield from self._queue(
            "lightbox_cases_open",
            "Cases that wait for a person or for a later message.",
            "kind",
            "SELECT kind, count(*) FROM interfaces_case WHERE status = 'open' GROUP BY 1",
        )

    def _queue(self, name: str, text: str, label: str, query: str) -> Iterator[Metric]:
        family = GaugeMetricFamily(name, text, labels=[label])
        with connection.cursor() as cursor:
            cursor.execute(query)
            for value, number in cursor.fetchall():
                family.add_metric([value], float(number))
        yield family
