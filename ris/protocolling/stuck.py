"""How protocolling gets stuck: nobody decides, or the referrer does not answer."""

from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched

_WANTED = """
SELECT r.id, r.order_id, NULL::bigint AS facility_id, r.wanted_since AS since, '{}'::jsonb AS detail
FROM protocolling_protocolrequest r WHERE r.status = 'wanted' AND r.wanted_since <= %(before)s
"""

_ASKED = """
SELECT r.id, r.order_id, NULL::bigint AS facility_id, r.status_at AS since,
       jsonb_build_object('asked', r.reason) AS detail
FROM protocolling_protocolrequest r WHERE r.status = 'asked' AND r.status_at <= %(before)s
"""


def _open(row: Stuck) -> Fix:
    return Fix("Decide", f"/protocols/{row.id}")


watched(
    Kind(
        "protocol.wanted", "No protocol", "a radiologist's protocol", "protocol.decide", Minutes(480, 120, 20), _WANTED,
        lambda row: "The exam needs a protocol and nobody has decided it.", _open, in_hours=True,
    ),
    Kind(
        "protocol.asked", "Referrer has not answered", "the referrer's answer", "protocol.decide",
        Minutes(960, 240, 60), _ASKED,
        lambda row: f"The referrer was asked: {row.detail['asked']}", _open, in_hours=True,
    ),
)  # fmt: skip
