"""How a reading gets stuck: nobody begins it, nobody signs it."""

from datetime import datetime

from ris.core.formats import moment
from ris.core.stuck import Fix, Kind, Minutes, Stuck, watched

_UNREAD = """
SELECT e.id, e.order_id, NULL::bigint AS facility_id, e.ended_at AS since, '{}'::jsonb AS detail
FROM orders_order o JOIN exams_exam e ON e.order_id = o.id
WHERE o.status IN ('in_progress', 'performed') AND e.status = 'completed' AND e.ended_at <= %(before)s
  AND NOT EXISTS (SELECT 1 FROM reporting_reportedexam r WHERE r.current_id = e.id)
"""

# One row for a report, however many exams it reads; the first exam's order stands for it.
_WRITTEN = """
SELECT r.id, e.order_id, NULL::bigint AS facility_id, {since} AS since,
       jsonb_build_object('author', concat_ws(' ', u.first_name, u.last_name), 'saved', d.saved_at, 'kind', d.kind,
                          'finding', COALESCE(d.finding, '')) AS detail
FROM reporting_report r
LEFT JOIN reporting_draft d ON d.report_id = r.id
LEFT JOIN accounts_user u ON u.id = d.author_id
CROSS JOIN LATERAL (
    SELECT x.order_id FROM reporting_reportedexam q JOIN exams_exam x ON x.id = q.exam_id
    WHERE q.report_id = r.id ORDER BY x.id LIMIT 1) e
WHERE {where}
"""

_DRAFT = _WRITTEN.format(since="d.saved_at", where="r.status = 'draft' AND d.saved_at <= %(before)s")
_PRELIMINARY = _WRITTEN.format(
    since="r.preliminary_at", where="r.status = 'preliminary' AND r.preliminary_at <= %(before)s"
)
_ADDENDUM = _WRITTEN.format(
    since="d.saved_at",
    where="r.status IN ('final', 'addended', 'corrected') AND d.saved_at <= %(before)s",
)


def _draft(row: Stuck) -> str:
    saved = datetime.fromisoformat(row.detail["saved"])
    return (
        f"{row.detail['author']} began the report and last wrote on it at {moment(saved)}; it is not signed."
    )


def _open(row: Stuck) -> Fix:
    return Fix("Open", f"/reports/{row.id}")


watched(
    Kind(
        "exam.unread", "Not read", "a report", "report.write", Minutes(1440, 240, 60), _UNREAD,
        lambda row: "The images are made and nobody has begun to read them.",
        lambda row: Fix("Read", f"/exams/{row.id}/read", acts=True),
    ),
    Kind("report.draft", "Report not signed", "a signature", "report.write", Minutes(1440, 240, 60), _DRAFT, _draft, _open),
    Kind(
        "report.preliminary", "Preliminary, not final", "the final report", "report.sign", Minutes(1440, 720, 240),
        _PRELIMINARY,
        lambda row: "A preliminary text has left the department; no radiologist has signed it.", _open,
    ),
    Kind(
        "report.addendum", "Addendum not signed", "a signature", "report.sign", Minutes(1440, 720, 240), _ADDENDUM,
        lambda row: f"{row.detail['author']} began a{'n addendum' if row.detail['kind'] == 'addendum' else ' correction'}"
        " to the signed report; it is not signed.",
        _open,
    ),
)  # fmt: skip
