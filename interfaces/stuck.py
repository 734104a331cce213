"""How a result gets stuck on its way out: the partner has not acknowledged it."""

from datetime import datetime

from ris.core.formats import moment
from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched

_RESULT = """
SELECT m.id, o.id AS order_id, NULL::bigint AS facility_id, m.created_at AS since,
       jsonb_build_object('partner', p.name, 'status', m.status, 'attempts', m.attempts, 'sent', m.sent_at,
                          'code', m.ack_code, 'down', p.down_since, 'paused', p.paused) AS detail
FROM interfaces_outboundmessage m
JOIN interfaces_endpoint p ON p.id = m.endpoint_id
JOIN orders_order o ON o.accession_number = m.accession_number AND o.patient_id = m.patient_id
WHERE m.status IN ('queued', 'sent', 'rejected', 'held') AND m.type LIKE 'ORU%%' AND m.created_at <= %(before)s
"""


def _words(row: Stuck) -> str:
    told = row.detail
    if told["status"] == "rejected":
        return (
            f"{told['partner']} refused the result ({told['code'] or 'no code'}); nobody there can read it."
        )
    if told["status"] == "held":
        return f"The result for {told['partner']} is held; nothing is sent until somebody releases it."
    if told["paused"]:
        return f"The line to {told['partner']} is paused; the result waits behind it."
    if told["down"]:
        return f"{told['partner']} cannot be reached since {moment(datetime.fromisoformat(told['down']))}."
    if told["sent"]:
        return (
            f"The result was sent to {told['partner']} and not acknowledged, {told['attempts']} times so far."
        )
    return f"The result for {told['partner']} waits in the queue."


watched(
    Kind(
        "result.unacknowledged", "Result not acknowledged", "the partner's acknowledgement", "message.view",
        Minutes(60, 30, 10), _RESULT, _words, lambda row: Fix("Open the message", f"/interfaces/out/{row.id}"),
    )
)  # fmt: skip
