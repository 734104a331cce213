"""What an administrator fills in about places, machines, people and exams."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.validators import RegexValidator

from ris.department.models import Facility, Practitioner, ProcedureType, Room, Station

AE_TITLE = RegexValidator(
    r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$",
    "An AE title has 1 to 16 characters: letters, digits and signs but no backslash, no space at its ends.",
)


class RecordForm(forms.ModelForm):  # type: ignore[type-arg]  # one base for forms of several models
    """Says what is missing in the words of its label."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.error_messages["required"] = f"Enter the {str(field.label).lower()}."
            field.error_messages["invalid_choice"] = "Pick one of the list."
            if isinstance(field, forms.ModelChoiceField):
                field.empty_label = "Pick one" if field.required else "None"
            elif isinstance(field, forms.TypedChoiceField):
                known: list[tuple[str, str]] = list(field.choices)  # type: ignore[arg-type]  # ours are pairs
                field.choices = [(value, label if value else "Pick one") for value, label in known]


class RoomForm(RecordForm):
    class Meta:
        model = Room
        fields = ["facility", "code", "name", "modality", "detail", "position", "active"]
        labels = {"detail": "Where it is", "position": "Place in lists", "active": "In use"}
        help_texts = {"code": "Short, without spaces, such as CT1; it stands in addresses"}
        error_messages = {
            "code": {"invalid": "A code has letters, digits, dashes and underscores only."},
        }


class StationForm(RecordForm):
    ae_title = forms.CharField(
        label="AE title",
        max_length=16,
        strip=True,
        validators=[AE_TITLE],
        error_messages={"max_length": "An AE title has at most 16 characters."},
        widget=forms.TextInput(
            attrs={
                "class": "mono",
                "autocomplete": "off",
                "spellcheck": "false",
                "hx-post": "/admin/stations/check",
                "hx-trigger": "input changed delay:250ms, load",
                "hx-target": "#ae-check",
                "hx-swap": "innerHTML",
                "hx-params": "ae_title,pk",
            }
        ),
    )

    class Meta:
        model = Station
        fields = ["ae_title", "room", "modality", "name", "host", "port", "character_set", "active"]
        labels = {
            "name": "Station name", "character_set": "Character set", "active": "May connect", "port": "Port",
        }  # fmt: skip
        help_texts = {
            "name": "Station Name (0008,1010), if it differs",
            "character_set": "ISO_IR 100 for a machine that cannot take UTF-8; else leave it empty",
            "host": "Name or address on the network",
        }
        error_messages = {"ae_title": {"unique": "Another station has this AE title."}}


class FacilityForm(RecordForm):
    class Meta:
        model = Facility
        fields = ["code", "name", "timezone", "phone", "address", "assigning_authority", "accession_prefix"]
        help_texts = {
            "timezone": "Such as America/New_York",
            "assigning_authority": "Whose patient numbers are ours (PID-3.4, Issuer of Patient ID)",
            "accession_prefix": "1 to 4 letters before our accession numbers",
        }
        error_messages = {"code": {"unique": "Another facility has this code."}}

    def clean_timezone(self) -> str:
        zone = str(self.cleaned_data["timezone"])
        if zone not in available_timezones():
            raise forms.ValidationError(f"There is no time zone {zone}. Write it as America/New_York.")
        return zone


class PractitionerForm(RecordForm):
    class Meta:
        model = Practitioner
        fields = [
            "family", "given", "middle", "prefix", "suffix", "identifier", "authority", "phone", "user", "active",
        ]  # fmt: skip
        labels = {
            "family": "Family name", "given": "Given name", "middle": "Middle name", "prefix": "Title",
            "identifier": "Number", "authority": "Who gave the number", "user": "Signs in as", "active": "May order",
        }  # fmt: skip
        error_messages = {"user": {"unique": "This user belongs to another practitioner."}}


class ExamForm(RecordForm):
    synonyms = SimpleArrayField(
        forms.CharField(max_length=64),
        delimiter="\n",
        required=False,
        help_text="What people call it, one a line",
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    class Meta:
        model = ProcedureType
        fields = [
            "code", "name", "synonyms", "modality", "body_part", "laterality", "duration_minutes", "prep", "contrast",
            "technical_code", "professional_code", "active",
        ]  # fmt: skip
        labels = {
            "duration_minutes": "Minutes in the room", "prep": "Preparation", "laterality": "Side",
            "technical_code": "Technical charge code", "professional_code": "Professional charge code", "active": "Offered",
        }  # fmt: skip
        widgets = {"prep": forms.Textarea(attrs={"rows": 3})}
        error_messages = {"code": {"unique": "Another exam has this code."}}

    def clean_duration_minutes(self) -> int:
        minutes = int(self.cleaned_data["duration_minutes"])
        if not 5 <= minutes <= 480:
            raise forms.ValidationError("An exam takes 5 to 480 minutes.")
        return minutes


class ImportForm(forms.Form):
    """A catalogue in CSV: a file, or its text once the difference has been looked at."""

    file = forms.FileField(
        required=False, label="CSV file", widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"})
    )
    text = forms.CharField(
        required=False,
        label="Or its text",
        strip=False,
        max_length=2_000_000,
        widget=forms.Textarea(attrs={"rows": 6}),
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        sent = data.get("file")
        if sent is not None:
            if sent.size > 2_000_000:
                raise forms.ValidationError("The file is larger than 2 MB; a catalogue is smaller.")
            try:
                data["text"] = sent.read().decode("utf-8-sig")
            except UnicodeDecodeError:
                raise forms.ValidationError(
                    "The file is not UTF-8. Save it as “CSV UTF-8” and send it again."
                ) from None
        if not data.get("text", "").strip():
            raise forms.ValidationError("Pick a CSV file or paste its text.")
        return data
