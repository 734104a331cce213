"""How a request gets stuck: nobody knows its code, nobody gives it a time, nobody releases it."""

from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched

_CODE = """
SELECT p.id, p.order_id, NULL::bigint AS facility_id, o.ordered_at AS since,
       jsonb_build_object('code', p.code) AS detail
FROM orders_requestedprocedure p JOIN orders_order o ON o.id = p.order_id
WHERE p.procedure_type_id IS NULL AND o.status IN ('requested', 'held') AND o.ordered_at <= %(before)s
"""

# What is wanted later than in two weeks has time until then.
_BOOKING = """
SELECT o.id, o.id AS order_id, o.facility_id,
       GREATEST(o.ordered_at, o.wanted_at - interval '14 days') AS since, '{}'::jsonb AS detail
FROM orders_order o
WHERE o.status = 'requested' AND o.ordered_at <= %(before)s
  AND NOT EXISTS (SELECT 1 FROM orders_requestedprocedure p WHERE p.order_id = o.id AND p.procedure_type_id IS NULL)
"""

_HELD = """
SELECT o.id, o.id AS order_id, o.facility_id, o.status_at AS since,
       jsonb_build_object('reason', o.hold_reason) AS detail
FROM orders_order o WHERE o.status = 'held' AND o.status_at <= %(before)s
"""


def _code(row: Stuck) -> str:
    return f"The placer asks for {row.detail['code']}, which is in no catalogue here: it cannot be booked or started."


def _held(row: Stuck) -> str:
    why = row.detail["reason"]
    return f"It is held: {why}" if why else "It is held, and nobody wrote why."


watched(
    Kind(
        "order.code", "Unknown exam code", "an exam of the catalogue", "order.map_procedure", Minutes(240, 60, 10),
        _CODE, _code, lambda row: Fix("Match", f"/orders/{row.order}/match/{row.id}"), in_hours=True,
    ),
    Kind(
        "order.booking", "No time booked", "a time", "appointment.book", Minutes(14 * 1440, 1440, 60), _BOOKING,
        lambda row: "It was asked for and nobody has booked it.",
        lambda row: Fix("Book", f"/schedule?order={row.order}"),
    ),
    Kind(
        "order.held", "Held", "a release or a cancellation", "order.change", Minutes(2 * 1440, 480, 60), _HELD, _held,
        lambda row: Fix("Release", f"/orders/{row.order}/release", acts=True),
    ),
)  # fmt: skip
