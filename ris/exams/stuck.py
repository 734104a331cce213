"""How an exam gets stuck: its machine never ends it, nobody began it, nobody knows whose it is, its images fail to come."""

from datetime import datetime

from ris.core.formats import clock, minutes
from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched
from ris.exams import completion

# Longer than planned: what the catalogue says it takes counts from the start.
_RUNNING = """
SELECT e.id, e.order_id, NULL::bigint AS facility_id,
       e.started_at + interval '1 minute' * COALESCE(t.duration_minutes, 30) AS since,
       jsonb_build_object('started', e.started_at, 'planned', COALESCE(t.duration_minutes, 30),
                          'room', r.name) AS detail
FROM exams_exam e
JOIN orders_requestedprocedure p ON p.id = e.procedure_id
LEFT JOIN department_proceduretype t ON t.id = p.procedure_type_id
LEFT JOIN department_room r ON r.id = e.room_id
WHERE e.status = 'in_progress' AND e.started_at <= %(before)s
"""

_UNSTARTED = """
SELECT o.id, o.id AS order_id, o.facility_id, MIN(i.first_seen_at) AS since,
       jsonb_build_object('images', SUM(i.instance_count)) AS detail
FROM orders_order o
JOIN orders_requestedprocedure p ON p.order_id = o.id AND p.procedure_type_id IS NOT NULL
JOIN exams_studyimages i ON i.procedure_id = p.id
WHERE o.status IN ('requested', 'scheduled') AND i.source <> 'mpps' AND i.instance_count > 0
  AND i.first_seen_at <= %(before)s
GROUP BY o.id
"""

_UNMATCHED = """
SELECT s.id, (SELECT e.order_id FROM exams_performedprocedurestep_exams x JOIN exams_exam e ON e.id = x.exam_id
              WHERE x.performedprocedurestep_id = s.id ORDER BY e.id LIMIT 1) AS order_id,
       r.facility_id, s.received_at AS since,
       jsonb_build_object('station', s.station_ae_title, 'problem', s.problem) AS detail
FROM exams_performedprocedurestep s
LEFT JOIN department_station st ON st.ae_title = s.station_ae_title
LEFT JOIN department_room r ON r.id = st.room_id
WHERE s.problem <> '' AND s.received_at <= %(before)s
"""

_STUDIES = """
SELECT i.id, NULL::bigint AS order_id, NULL::bigint AS facility_id, i.first_seen_at AS since,
       jsonb_build_object('images', i.instance_count, 'problem', i.problem) AS detail
FROM exams_studyimages i WHERE i.problem <> '' AND i.first_seen_at <= %(before)s
"""

# Of exams since an archive was first heard of here; where none is asked, missing images say nothing.
_IMAGES = """
SELECT e.id, e.order_id, NULL::bigint AS facility_id, e.ended_at AS since,
       jsonb_build_object('sent', e.image_count, 'held', i.held, 'missing', i.missing) AS detail
FROM orders_order o
JOIN exams_exam e ON e.order_id = o.id
LEFT JOIN LATERAL (
    SELECT SUM(s.instance_count) AS held, SUM(COALESCE(s.missing, 0)) AS missing
    FROM exams_studyimages s WHERE s.procedure_id = e.procedure_id AND s.source <> 'mpps') i ON TRUE
WHERE o.status IN ('in_progress', 'performed') AND e.status = 'completed' AND e.ended_at <= %(before)s
  AND e.ended_at > %(now)s - interval '7 days'
  AND (COALESCE(i.held, 0) = 0 OR i.missing > 0 OR i.held < e.image_count)
  AND e.ended_at >= (
      SELECT heard.first_seen_at FROM exams_studyimages heard WHERE heard.source <> 'mpps' ORDER BY heard.id LIMIT 1)
"""


def _look_for_evidence(rows: list[Stuck], now: datetime) -> None:
    exams = list(completion.running().filter(pk__in=[row.id for row in rows]))
    found, begun = completion.verdicts(exams, now), completion.begun_words(exams)
    for row in rows:
        verdict = found.get(row.id)
        row.detail["words"] = verdict.words if verdict else ""
        row.detail["begun"] = begun.get(row.id, "")


def _running(row: Stuck) -> str:
    if row.detail["words"]:
        return str(row.detail["words"])
    started = datetime.fromisoformat(row.detail["started"])
    where = f" in {row.detail['room']}" if row.detail["room"] else ""
    return (
        f"{row.detail['begun'] or f'It began {clock(started)}'}{where}; it takes {minutes(row.detail['planned'])}, "
        "and nothing shows its end."
    )


def _end(row: Stuck) -> Fix:
    if row.detail["words"]:
        return Fix("Complete it", f"/exams/{row.id}/complete-by-evidence", acts=True)
    return Fix("Open", f"/exams/{row.id}")


def _unstarted(row: Stuck) -> str:
    count = row.detail["images"]
    return f"Nobody started it; {count} image{'' if count == 1 else 's'} in the archive since {completion.when(row.since)}."


def _images(row: Stuck) -> str:
    sent, held, missing = row.detail["sent"], row.detail["held"], row.detail["missing"]
    if not held:
        return "It was completed and the archive has no image of it."
    if missing:
        return f"{missing} of the images the machine named are not in the archive."
    return f"{sent} images were made and {held} are in the archive."


watched(
    Kind(
        "exam.unstarted", "Done, never started", "the start", "exam.perform", Minutes(10, 10, 10), _UNSTARTED, _unstarted,
        lambda row: Fix("Start and complete", f"/orders/{row.id}/done-by-evidence", acts=True),
    ),
    Kind(
        "exam.running", "Never ended", "the exam's end", "exam.perform", Minutes(30, 20, 10), _RUNNING, _running, _end,
        prepare=_look_for_evidence,
    ),
    Kind(
        "step.unmatched", "Done for no known order", "its order", "exam.reconcile", Minutes(15, 15, 15), _UNMATCHED,
        lambda row: f"{row.detail['station']} did it. {row.detail['problem']}",
        lambda row: Fix("Match", f"/exams/unmatched/{row.id}"),
    ),
    Kind(
        "images.unmatched", "Images of no known order", "their order", "exam.reconcile", Minutes(30, 30, 30), _STUDIES,
        lambda row: f"{row.detail['images']} images. {row.detail['problem']}",
        lambda row: Fix("Match", "/exams/unmatched"),
    ),
    Kind(
        "exam.images", "Images are missing", "all of its images", "exam.reconcile", Minutes(30, 20, 15), _IMAGES, _images,
        lambda row: Fix("Open", f"/exams/{row.id}"),
    ),
)  # fmt: skip
