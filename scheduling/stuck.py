"""How a booking gets stuck: nobody came, or somebody came and waits."""

from datetime import datetime

from ris.core.formats import clock, moment
from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched

# Nobody looks for older ones here: 60 days bound the search by time.
_NOT_COME = """
SELECT a.id, a.order_id, NULL::bigint AS facility_id, lower(a.during) AS since,
       jsonb_build_object('room', r.name) AS detail
FROM scheduling_appointment a JOIN department_room r ON r.id = a.room_id
WHERE a.during && tstzrange(%(now)s - interval '60 days', %(before)s)
  AND a.status IN ('booked', 'confirmed') AND lower(a.during) <= %(before)s
"""

_WAITING = """
SELECT a.id, a.order_id, NULL::bigint AS facility_id, GREATEST(a.arrived_at, lower(a.during)) AS since,
       jsonb_build_object('room', r.name, 'arrived', a.arrived_at, 'ready', a.status = 'ready') AS detail
FROM scheduling_appointment a JOIN department_room r ON r.id = a.room_id
WHERE a.during && tstzrange(%(now)s - interval '60 days', %(now)s + interval '1 day')
  AND a.status IN ('arrived', 'ready') AND GREATEST(a.arrived_at, lower(a.during)) <= %(before)s
"""


def _waiting(row: Stuck) -> str:
    came = datetime.fromisoformat(row.detail["arrived"])
    called = "is ready" if row.detail["ready"] else "has come"
    return (
        f"The patient {called}, here since {clock(came)}, and the exam in {row.detail['room']} has not begun."
    )


watched(
    Kind(
        "appointment.not_come", "Has not come", "the patient, or a no-show", "appointment.change", Minutes(45, 30, 15),
        _NOT_COME,
        lambda row: f"Booked for {moment(row.since)} in {row.detail['room']}; nobody has checked in.",
        lambda row: Fix("No-show", f"/appointments/{row.id}/no-show", acts=True),
    ),
    Kind(
        "appointment.waiting", "Waits for the exam", "the exam's start", "exam.perform", Minutes(45, 30, 15), _WAITING,
        _waiting, lambda row: Fix("Start", f"/orders/{row.order}/start"),
    ),
)  # fmt: skip
