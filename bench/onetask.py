"""The peer of our outbound queue: a Celery task for each message, as most would write it."""

import os
import socket

import psycopg2
from celery import Celery

from interfaces.hl7 import mllp

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.task_default_queue = "bench"
_session: list["psycopg2.extensions.connection"] = []


@app.task(name="bench.send")
def send(control_id: str, address: str) -> None:
    """Read the message, send it over a connection of its own, note the answer."""
    if not _session:
        _session.append(psycopg2.connect(os.environ["BENCH_DATABASE"]))
    host, _, port = address.rpartition(":")
    with _session[0] as database, database.cursor() as cursor:
        cursor.execute("SELECT raw FROM bench_task WHERE control_id = %s", [control_id])
        (raw,) = cursor.fetchone()
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.sendall(mllp.frame(bytes(raw)))
            answer = line.recv(65536)
        cursor.execute("UPDATE bench_task SET answer = %s WHERE control_id = %s", [answer, control_id])
