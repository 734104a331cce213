"""What the reader types: the words of each section under the headings the draft has; why a report goes."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.datastructures import MultiValueDict

from ris.core.errors import BadValue
from ris.exams.models import Exam
from ris.reporting.models import Report
from ris.reporting.sections import Section, from_rows
from ris.reporting.states import WithdrawalReason
from ris.reporting.worklists import unread


def written(sent: MultiValueDict[str, str], headings: Sequence[Section]) -> list[Section]:
    """The draft's sections with the words sent; a section that was not sent keeps its own."""
    return [
        Section(code=one["code"], title=one["title"], text=_words(sent, place, one["text"]))
        for place, one in enumerate(headings)
    ]


def _words(sent: MultiValueDict[str, str], place: int, known: str) -> str:
    if f"text-{place}" in sent:
        return str(sent[f"text-{place}"])
    labels, rows = sent.getlist(f"label-{place}"), sent.getlist(f"row-{place}")
    if rows and len(labels) == len(rows):
        return from_rows(zip(map(str, labels), map(str, rows), strict=True))
    return known


def version_of(sent: MultiValueDict[str, str]) -> int:
    """The version of the text the writer saw; `over` is that of the other text they chose to replace."""
    try:
        return int(str(sent.get("over") or sent["version"]))
    except (LookupError, ValueError):
        raise BadValue("The page did not say which text it holds. Reload it.") from None


def _bare(number: str) -> str:
    """An accession number as stored, from how it is scanned, typed or read."""
    return "".join(ch for ch in number.upper() if ch.isalnum())


class _Confirmed(forms.Form):
    """Whoever takes a report back names its exam, from the paper or the screen in front of them."""

    words = forms.CharField(
        label="What happened", max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    accession = forms.CharField(
        label="Accession of this report: scan it or type it",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "data-scan": True}),
        error_messages={"required": "Scan or type the accession of this report, to be sure it is this one."},
    )

    def __init__(self, *args: Any, report: Report, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.report = report
        self.exams = [one.exam for one in report.reported.all()]

    def clean_accession(self) -> str:
        typed = _bare(self.cleaned_data["accession"])
        if typed not in {_bare(exam.order.accession_number) for exam in self.exams}:
            raise forms.ValidationError(
                "That is not the accession of this report. Look at the patient again."
            )
        return typed


class CancelForm(_Confirmed):
    """Ends a report before it is signed."""


class WithdrawForm(_Confirmed):
    """Takes a signed report back, and says where its text belongs."""

    field_order = ("reason", "words", "right", "accession")

    reason = forms.ChoiceField(
        label="Why",
        choices=WithdrawalReason.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Pick why the report is withdrawn."},
    )
    right = forms.CharField(
        label="Accession of the exam the text belongs to",
        help_text="Its report begins with this text, unsigned.",
        max_length=40,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_right(self) -> Exam | None:
        typed = _bare(self.cleaned_data["right"])
        if not typed:
            return None
        exam = unread().filter(order__accession_number=typed).select_related("order").order_by("pk").first()
        if exam is None:
            raise forms.ValidationError("No exam of that accession waits to be read.")
        return exam
