"""What the technologist types. Forms check shape; the verbs decide."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone

from ris.core.formats import clock
from ris.department.models import ProcedureType, Room
from ris.exams.identity import is_birth_year
from ris.exams.levels import name_of
from ris.exams.models import DoseReferenceLevel, Exam
from ris.exams.models_dose import QUANTITIES
from ris.exams.states import DISCONTINUATION_REASONS, WRONG_ENTRY
from ris.orders.models import Order, Side


class StartForm(forms.Form):
    """Who it is, unless the wristband has said so, and where."""

    birth_year = forms.CharField(
        label="Birth year, as the patient says it",
        max_length=4,
        error_messages={"required": "Scan the wristband, or type the birth year the patient says."},
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "off", "size": 4, "form": "start"}
        ),
    )
    room = forms.ModelChoiceField(
        label="Room",
        queryset=Room.objects.none(),
        widget=forms.RadioSelect,
        empty_label=None,
        error_messages={"required": "Pick the room."},
    )

    def __init__(self, *args: Any, order: Order, identified: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order, self.identified = order, identified
        modalities = [one.procedure_type.modality for one in order.procedures.all() if one.procedure_type]
        rooms = Room.objects.filter(active=True, facility=order.facility_id, modality__in=modalities)
        self.fields["room"].queryset = rooms  # type: ignore[attr-defined]
        if identified:
            del self.fields["birth_year"]

    def clean_birth_year(self) -> str:
        year = str(self.cleaned_data["birth_year"]).strip()
        patient = self.order.patient
        if not patient.birth_date:
            raise forms.ValidationError("No birth date is recorded. Scan the wristband or type its number.")
        if not is_birth_year(patient, year):
            raise forms.ValidationError(
                f"{year} is not the birth year of {patient.name.display}. Check the wristband."
            )
        return year


class CompleteForm(forms.Form):
    ended = forms.TimeField(
        label="Ended",
        required=False,
        help_text="Leave empty for now.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "placeholder": "09:45"}),
    )
    series_count = forms.IntegerField(label="Series", required=False, min_value=0, max_value=9999)
    image_count = forms.IntegerField(label="Images", required=False, min_value=0, max_value=999_999)
    comment = forms.CharField(
        label="Note for the reader",
        required=False,
        max_length=400,
        widget=forms.Textarea(attrs={"rows": 2, "data-autogrow": True}),
    )

    def __init__(self, *args: Any, exam: Exam, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exam = exam

    def clean_ended(self) -> datetime | None:
        """The time on the wall of the room, on the day the exam runs."""
        told = self.cleaned_data["ended"]
        if told is None:
            return None
        started = self.exam.started_at.astimezone(ZoneInfo(self.exam.order.facility.timezone))
        ended = started.replace(hour=told.hour, minute=told.minute, second=59, microsecond=0)
        if ended < started:
            ended += timedelta(days=1)
        now = timezone.now()
        if ended > now + timedelta(minutes=1):
            raise forms.ValidationError(
                f"{told:%H:%M} is still to come. The exam started at {clock(self.exam.started_at)}."
            )
        return min(ended, now)


class CommentForm(forms.Form):
    comment = forms.CharField(
        label="Note for the reader", required=False, max_length=400, widget=forms.Textarea(attrs={"rows": 3})
    )


class DiscontinueForm(forms.Form):
    code = forms.ChoiceField(
        label="Why it stops",
        choices=[(code, words) for code, words in DISCONTINUATION_REASONS.items() if code != WRONG_ENTRY],
        widget=forms.RadioSelect,
        error_messages={"required": "Pick the reason for stopping."},
    )
    comment = CommentForm.base_fields["comment"]


#: Why another exam is done than was asked for.
CHANGE_REASONS = (
    "Radiologist asked for it",
    "Question needs it",
    "Wrong exam was ordered",
    "Patient's condition",
    "Contrast not possible",
    "Equipment",
)


class ChangeForm(forms.Form):
    procedure = forms.ModelChoiceField(
        label="Exam done",
        queryset=ProcedureType.objects.filter(active=True),
        error_messages={
            "required": "Pick the exam that is done.",
            "invalid_choice": "Pick the exam from the list.",
        },
    )
    side = forms.ChoiceField(label="Side", required=False, choices=Side.choices)
    reason = forms.CharField(
        label="Why", max_length=200, error_messages={"required": "Say why another exam is done."}
    )


class DoseForm(forms.Form):
    """The quantities that a kind of machine shows on its console."""

    def __init__(self, *args: Any, quantities: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for quantity in quantities:
            unit = QUANTITIES[quantity]
            whole = quantity in {"fluoroscopy_seconds", "exposures"}
            field: forms.Field = (forms.IntegerField if whole else forms.DecimalField)(
                label=f"{name_of(quantity)} ({unit})" if unit else name_of(quantity), required=False, min_value=0,
                widget=forms.TextInput(attrs={"inputmode": "numeric" if whole else "decimal", "autocomplete": "off"}),
            )  # fmt: skip
            self.fields[quantity] = field


class LevelForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """A reference level: for an exam of the catalogue, or a modality and a body part of it."""

    class Meta:
        model = DoseReferenceLevel
        fields = [
            "procedure_type",
            "modality",
            "body_part",
            "quantity",
            "value",
            "source",
            "valid_from",
            "active",
        ]
        labels = {
            "procedure_type": "Exam", "body_part": "Body part", "valid_from": "Valid from", "active": "In use",
        }  # fmt: skip
        help_texts = {
            "procedure_type": "Leave empty for a whole body part.",
            "source": "Who set it, and when: a law, a society, this department's own median.",
        }
        widgets = {"valid_from": forms.DateInput(attrs={"type": "date"})}

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if told.get("procedure_type") and (told.get("modality") or told.get("body_part")):
            self.add_error("modality", "Pick an exam, or a modality with its body part, not both.")
        elif not told.get("procedure_type") and not told.get("modality"):
            self.add_error("modality", "Pick the exam or the modality that the level is for.")
        return told
