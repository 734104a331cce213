"""What is asked when an order is placed, held or withdrawn."""

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings

from ris.core.formats import local, parse_day, today
from ris.department.models import Facility, Laterality, Practitioner, ProcedureType
from ris.orders.models import Order, Side
from ris.orders.states import Priority
from ris.orders.worklists import find_exams, find_practitioners

SIDES = [(Side.LEFT.value, "Left"), (Side.RIGHT.value, "Right"), (Side.BOTH.value, "Both")]
#: HL7 table 0124.
TRANSPORT = [
    ("", "Not said"),
    ("WALK", "Walks"),
    ("WHLC", "Wheelchair"),
    ("CART", "Bed"),
    ("PORT", "Portable"),
]
HOLD_REASONS = [
    "Waits for the referrer",
    "Waits for labs",
    "Waits for authorization",
    "Patient asked to wait",
]
CANCEL_REASONS = [
    "Referrer withdrew it",
    "Patient declined",
    "Duplicate order",
    "Wrong exam",
    "Wrong patient",
]


class OrderForm(forms.Form):
    """One page in the order of the phone conversation (ux.md 2.5)."""

    facility = forms.ModelChoiceField(Facility.objects.order_by("pk"), label="Site", empty_label=None)
    procedure = forms.ModelChoiceField(
        ProcedureType.objects.filter(active=True), label="Exam", required=False, widget=forms.HiddenInput
    )
    side = forms.ChoiceField(choices=SIDES, required=False, widget=forms.RadioSelect)
    reason = forms.CharField(
        label="Reason", max_length=500, widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Enter the reason for the exam."},
    )  # fmt: skip
    clinical_info = forms.CharField(
        label="Clinical information",
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    priority = forms.ChoiceField(
        choices=[(Priority.ROUTINE.value, "Routine"), (Priority.ASAP.value, "Urgent"), (Priority.STAT.value, "STAT")],
        initial=Priority.ROUTINE, widget=forms.RadioSelect,
    )  # fmt: skip
    wanted = forms.CharField(
        label="Wanted by", required=False,
        widget=forms.TextInput(attrs={"data-date": "", "autocomplete": "off", "placeholder": "22 11, +3d, +2w"}),
    )  # fmt: skip
    transport = forms.ChoiceField(choices=TRANSPORT, required=False)
    referrer = forms.ModelChoiceField(
        Practitioner.objects.filter(active=True), label="Referrer", required=False, widget=forms.HiddenInput
    )
    again = forms.BooleanField(label="Order it again", required=False)
    again_reason = forms.CharField(label="Why again", required=False, max_length=200)

    def __init__(self, data: Any = None, *, orders_as: Practitioner | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.orders_as = orders_as
        # Without a script the text of the search fields arrives instead of a choice, in their order.
        typed = data.getlist("q") if data is not None else []
        self.exam_text, self.referrer_text = (*typed, "", "")[:2]
        self.exam_choices: list[ProcedureType] = []
        self.referrer_choices: list[Practitioner] = []

    def clean_procedure(self) -> ProcedureType:
        chosen: ProcedureType | None = self.cleaned_data["procedure"] or self._only(
            find_exams(self.exam_text), self.exam_choices
        )
        if chosen is None:
            raise forms.ValidationError(_which("exam", self.exam_text, len(self.exam_choices)))
        self.exam_text = chosen.name
        return chosen

    def clean_referrer(self) -> Practitioner:
        if self.orders_as is not None:
            return self.orders_as
        chosen: Practitioner | None = self.cleaned_data["referrer"] or self._only(
            find_practitioners(self.referrer_text), self.referrer_choices
        )
        if chosen is None:
            raise forms.ValidationError(_which("referrer", self.referrer_text, len(self.referrer_choices)))
        self.referrer_text = chosen.name.display
        return chosen

    @staticmethod
    def _only(found: list[Any], choices: list[Any]) -> Any:
        if len(found) == 1:
            return found[0]
        choices.extend(found)
        return None

    def clean_wanted(self) -> datetime | None:
        """The end of the day by which the exam is wanted."""
        return _end_of(self.cleaned_data["wanted"])

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        exam = data.get("procedure")
        if exam and exam.laterality == Laterality.REQUIRED and not data.get("side"):
            self.add_error("side", "Pick the side: left, right or both.")
        if exam and exam.laterality == Laterality.NONE:
            data["side"] = ""
        if data.get("again") and not data.get("again_reason"):
            self.add_error("again_reason", "Say why the exam is needed again.")
        return data


def _end_of(text: str) -> datetime | None:
    if not text:
        return None
    day = parse_day(text)
    if day is None:
        raise forms.ValidationError("Type a day like 22 11, 22-Nov-2026 or +3d.")
    if day < today():
        raise forms.ValidationError("Wanted by must be today or later.")
    return datetime.combine(day, time(23, 59), ZoneInfo(settings.RIS_FACILITY_TZ))


def _which(what: str, text: str, many: int) -> str:
    if many:
        return f"{many} fit “{text}”. Pick one."
    return f"No {what} matches “{text}”. Try fewer letters." if text else f"Pick the {what}."


class ChangeForm(forms.Form):
    """What of a request may change without making it another exam."""

    reason = forms.CharField(label="Reason", max_length=500, widget=forms.Textarea(attrs={"rows": 2}))
    clinical_info = forms.CharField(
        label="Clinical information",
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    priority = forms.ChoiceField(choices=Priority.choices, widget=forms.RadioSelect)
    wanted = forms.CharField(
        label="Wanted by",
        required=False,
        widget=forms.TextInput(attrs={"data-date": "", "autocomplete": "off"}),
    )
    transport = forms.ChoiceField(choices=TRANSPORT, required=False)
    #: The state of the order that the person saw.
    version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, order: Order, data: Any = None) -> None:
        shown = local(order.wanted_at).date().strftime("%d-%b-%Y") if order.wanted_at else ""
        super().__init__(
            data,
            initial={
                "reason": order.reason, "clinical_info": order.clinical_info, "priority": order.priority,
                "wanted": shown, "transport": order.transport, "version": order.version,
            },
        )  # fmt: skip
        self._wanted = (shown, order.wanted_at)

    def clean_wanted(self) -> datetime | None:
        """Unchanged it keeps its hour; a new day counts to its end."""
        text, before = self.cleaned_data["wanted"], self._wanted
        return before[1] if text == before[0] else _end_of(text)

    @property
    def changes(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "reason": data["reason"], "clinical_info": data["clinical_info"], "priority": data["priority"],
            "wanted_at": data["wanted"], "transport": data["transport"],
        }  # fmt: skip


class ReasonForm(forms.Form):
    """A reason picked, or typed when none fits."""

    reason = forms.ChoiceField(required=False, widget=forms.RadioSelect)
    other = forms.CharField(label="Other reason", required=False, max_length=200)

    def __init__(self, reasons: list[str], data: Any = None) -> None:
        super().__init__(data)
        field = self.fields["reason"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one, one) for one in reasons]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        data["why"] = data.get("other") or data.get("reason") or ""
        if not data["why"]:
            self.add_error("reason", "Pick a reason, or type another.")
        return data


class MatchForm(forms.Form):
    """Which exam a sender's unknown code means."""

    procedure = forms.ModelChoiceField(
        ProcedureType.objects.filter(active=True), label="Exam", required=False, widget=forms.HiddenInput
    )
    side = forms.ChoiceField(choices=SIDES, required=False, widget=forms.RadioSelect)
    remember = forms.BooleanField(required=False)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.exam_text = data.get("q", "") if data is not None else ""
        self.exam_choices: list[ProcedureType] = []

    def clean_procedure(self) -> ProcedureType:
        chosen: ProcedureType | None = self.cleaned_data["procedure"]
        if chosen is None:
            found = find_exams(self.exam_text)
            if len(found) == 1:
                return found[0]
            self.exam_choices = found
            raise forms.ValidationError(_which("exam", self.exam_text, len(found)))
        return chosen
