"""What people fill in around the schedule."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.utils.dateparse import parse_datetime

from ris.core.formats import parse_day
from ris.department.models import Practitioner, Room

CANCEL_REASONS = (
    "Patient asked",
    "Patient is ill",
    "Patient not prepared",
    "Room or machine down",
    "Staff missing",
    "Urgent case came first",
    "Booked in error",
)
BLOCK_REASONS = ("Service", "Break", "Quality assurance", "Staff missing", "Reserve")
OVERBOOK_REASONS = ("Emergency", "Short exam, fits between", "Patient cannot come at another time")


class MomentField(forms.Field):
    """An ISO 8601 time; without an offset it is the facility's."""

    def to_python(self, value: Any) -> datetime | None:
        if not value:
            return None
        try:
            moment = parse_datetime(str(value))
        except ValueError:
            moment = None
        if moment is None:
            raise forms.ValidationError("That is not a time. Pick one from the schedule.")
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(settings.RIS_FACILITY_TZ))


class SlotForm(forms.Form):
    """A room and a time somebody points at."""

    room = forms.ModelChoiceField(
        Room.objects.filter(active=True).select_related("facility"),
        error_messages={
            "required": "Pick the room.",
            "invalid_choice": "That room is not in use. Pick another.",
        },
    )
    start = MomentField(error_messages={"required": "Pick the time."})
    overbook_reason = forms.CharField(max_length=200, required=False)


class BookForm(SlotForm):
    order = forms.IntegerField(error_messages={"required": "Pick the order to book."})
    note = forms.CharField(max_length=200, required=False)


class MoveForm(SlotForm):
    version = forms.IntegerField(required=False)


def _chips(words: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(word, word) for word in words]


class ReasonForm(forms.Form):
    """A reason picked, or told in own words."""

    reason = forms.ChoiceField(widget=forms.RadioSelect, required=False)
    other = forms.CharField(max_length=80, required=False, label="In your words")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["reason"] = cleaned.get("other", "").strip() or cleaned.get("reason", "")
        if not cleaned["reason"] and "reason" not in self.errors:
            self.add_error("reason", "Pick a reason, or write it in your words.")
        return cleaned


class CancelForm(ReasonForm):
    reason = forms.ChoiceField(
        widget=forms.RadioSelect, choices=_chips(CANCEL_REASONS), required=False, label="Why"
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)


class PerformerForm(forms.Form):
    """Who is planned to do an exam: one of those who work here."""

    performer = forms.ModelChoiceField(
        Practitioner.objects.filter(active=True, user__is_active=True),
        required=False,
        label="Performed by",
        empty_label="Nobody in particular",
        error_messages={"invalid_choice": "Pick one of the list."},
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)


class BlockForm(ReasonForm):
    """A room and a stretch of a day, in the facility's time."""

    room = forms.ModelChoiceField(
        Room.objects.filter(active=True), empty_label=None, error_messages={"required": "Pick the room."}
    )
    day = forms.CharField(widget=forms.TextInput({"data-date": True, "autocomplete": "off"}))
    opens = forms.TimeField(
        label="From", widget=forms.TimeInput({"placeholder": "12:00"}, format="%H:%M"),
        input_formats=["%H:%M", "%H%M"], error_messages={"invalid": "Write the time like 12:00."},
    )  # fmt: skip
    closes = forms.TimeField(
        label="Until", widget=forms.TimeInput({"placeholder": "13:00"}, format="%H:%M"),
        input_formats=["%H:%M", "%H%M"], error_messages={"invalid": "Write the time like 13:00."},
    )  # fmt: skip
    reason = forms.ChoiceField(
        widget=forms.RadioSelect, choices=_chips(BLOCK_REASONS), required=False, label="Why"
    )
    field_order = ("room", "day", "opens", "closes", "reason", "other")

    def clean_day(self) -> Any:
        day = parse_day(self.cleaned_data["day"])
        if day is None:
            raise forms.ValidationError("Type a day like 19 11, t or +3d.")
        return day

    @property
    def span(self) -> tuple[datetime, datetime]:
        zone = ZoneInfo(settings.RIS_FACILITY_TZ)
        filled = self.cleaned_data
        return (
            datetime.combine(filled["day"], filled["opens"], zone),
            datetime.combine(filled["day"], filled["closes"], zone),
        )
