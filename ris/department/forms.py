"""What an administrator fills in about places, machines, people and exams."""

import re
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.validators import RegexValidator

from ris.core import certificates
from ris.core.stopping import DISCONTINUATION_REASONS, WRONG_ENTRY
from ris.department.models import (
    Facility,
    Letters,
    Modality,
    Practitioner,
    ProcedureType,
    Room,
    Shown,
    Station,
    Withheld,
    address_or_network,
)

AE_TITLE = RegexValidator(
    r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$",
    "An AE title has 1 to 16 characters: letters, digits and signs but no backslash, no space at its ends.",
)


class RecordForm(forms.ModelForm):  # type: ignore[type-arg]  # one base for forms of several models
    """Says what is missing in the words of its label."""

    #: Heading and first field of each part of a long form after its first part.
    parts: ClassVar[dict[str, str]] = {}

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

    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """Headings and their fields, in the form's order."""
        found: list[tuple[str, list[forms.BoundField]]] = [("", [])]
        headings = {first: heading for heading, first in self.parts.items()}
        for field in self:
            if field.name in headings:
                found.append((headings[field.name], []))
            found[-1][1].append(field)
        return found


class RoomForm(RecordForm):
    class Meta:
        model = Room
        fields = ["facility", "code", "name", "modality", "detail", "position", "active"]
        labels = {"detail": "Where it is", "position": "Place in lists", "active": "In use"}
        help_texts = {"code": "Short, without spaces, such as CT1; it stands in addresses"}
        error_messages = {
            "code": {"invalid": "A code has letters, digits, dashes and underscores only."},
        }


#: Specific Character Set (0008,0005) by the words a machine's manual uses; PS3.3 C.12.1.1.2.
CHARACTER_SETS = (
    ("", "UTF-8 (where needed)"),
    ("ISO_IR 6", "None: plain letters only"),
    ("ISO_IR 100", "Western European, ISO_IR 100"),
    ("ISO_IR 203", "Western European with euro, ISO_IR 203"),
    ("ISO_IR 101", "Central European, ISO_IR 101"),
    ("ISO_IR 109", "South European, ISO_IR 109"),
    ("ISO_IR 110", "North European, ISO_IR 110"),
    ("ISO_IR 144", "Cyrillic, ISO_IR 144"),
    ("ISO_IR 127", "Arabic, ISO_IR 127"),
    ("ISO_IR 126", "Greek, ISO_IR 126"),
    ("ISO_IR 138", "Hebrew, ISO_IR 138"),
    ("ISO_IR 148", "Turkish, ISO_IR 148"),
    ("ISO_IR 166", "Thai, ISO_IR 166"),
    ("\\ISO 2022 IR 87", "Japanese, kanji (IR 87)"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", "Japanese, katakana and kanji (IR 13, IR 87)"),
    ("\\ISO 2022 IR 87\\ISO 2022 IR 159", "Japanese, kanji and supplementary (IR 87, IR 159)"),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159",
        "Japanese, katakana, kanji and supplementary (IR 13, IR 87, IR 159)",
    ),
    ("\\ISO 2022 IR 149", "Korean (IR 149)"),
    ("\\ISO 2022 IR 58", "Chinese, simplified (IR 58)"),
    ("GB18030", "Chinese, GB18030"),
    ("GBK", "Chinese, GBK"),
)


class StationForm(RecordForm):
    parts: ClassVar[dict[str, str]] = {
        "Who it is": "allowed_addresses",
        "Its worklist": "own_steps_only",
        "What it is sent": "character_set",
        "What it reports": "ends_exams",
    }
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

    allowed_addresses = SimpleArrayField(
        forms.CharField(max_length=50, validators=[address_or_network]),
        delimiter="\n",
        required=False,
        label="May call from",
        help_text="Addresses or networks, one a line, such as 10.4.0.17 or 10.4.0.0/24; empty: from anywhere",
        error_messages={"item_invalid": "Line %(nth)s:"},
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono"}),
    )
    certificate = forms.CharField(
        required=False,
        label="Certificate",
        help_text="Paste it (PEM) or its SHA-256 fingerprint. The machine then calls over TLS only, and nobody else"
        " with its certificate; empty: any way",
        widget=forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"}),
    )
    character_set = forms.ChoiceField(required=False, label="Character set")
    shown = forms.MultipleChoiceField(
        choices=Shown,
        label="Shows exams that are",
        widget=forms.CheckboxSelectMultiple,
        help_text="An exam that has ended is never shown",
    )
    withheld = forms.MultipleChoiceField(
        choices=Withheld,
        required=False,
        label="Never sent",
        widget=forms.CheckboxSelectMultiple,
        help_text="For a machine that stumbles over them: sent empty",
    )

    class Meta:
        model = Station
        fields = [
            "ae_title", "room", "modality", "name", "host", "port", "active",
            "allowed_addresses", "certificate", "own_steps_only", "days_before", "days_after", "shown",
            "character_set", "letters", "longest_text", "withheld", "timezone_offset",
            "ends_exams", "strict_steps",
        ]  # fmt: skip
        labels = {
            "name": "Station name", "active": "May connect", "port": "Port",
            "own_steps_only": "Only its own exams, unless it asks for another machine's",
            "days_before": "Days back", "days_after": "Days ahead", "letters": "Letters it can show",
            "longest_text": "Longest text it can show", "timezone_offset": "Offset from UTC",
            "ends_exams": "Its end of a performed step ends the exam",
            "strict_steps": "Refuse an end that leaves out what it must hold",
        }  # fmt: skip
        help_texts = {
            "name": "Station Name (0008,1010), if it differs",
            "host": "Name or address on the network",
            "days_before": "0: none before today; empty: all. A query that names dates or one exam finds it anyway",
            "days_after": "0: none after today; empty: all",
            "longest_text": "8 to 64 characters; names and descriptions are cut, numbers never",
            "ends_exams": "Off: the technologist ends it, for a machine that makes one exam in several steps",
            "strict_steps": "Off: it is taken, and noted as a defect of the machine",
        }
        error_messages = {
            "ae_title": {"unique": "Another station has this AE title."},
            "longest_text": {"invalid": "Write a number from 8 to 64."},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["shown"].error_messages["required"] = (
            "Pick at least one; a machine that sees nothing may not connect."
        )
        self.initial["certificate"] = self.instance.certificate_fingerprint
        letters = self.fields["letters"]
        assert isinstance(letters, forms.TypedChoiceField)
        letters.choices = Letters.choices
        sets = self.fields["character_set"]
        assert isinstance(sets, forms.ChoiceField)
        own = self.instance.character_set
        # What another door wrote stays as it is.
        sets.choices = [*CHARACTER_SETS, *([(own, own)] if own not in dict(CHARACTER_SETS) else [])]

    def clean_certificate(self) -> str:
        """The fingerprint; of a whole certificate its end is kept too."""
        text = str(self.cleaned_data["certificate"])
        own = text.replace(":", "").replace(" ", "").lower()
        if own == self.instance.certificate_fingerprint:
            return own
        self.instance.certificate_ends_at = None
        if own and not re.fullmatch(r"[0-9a-f]{64}", own):
            try:
                der = certificates.first_certificate(text)
                self.instance.certificate_ends_at = certificates.ends_at(der)
            except ValueError:
                raise forms.ValidationError(
                    "This is neither a PEM certificate nor a fingerprint of 64 hexadecimal digits."
                ) from None
            own = certificates.fingerprint(der)
        self.instance.certificate_fingerprint = own
        return own

    def clean_longest_text(self) -> int | None:
        length: int | None = self.cleaned_data["longest_text"]
        if length is not None and not 8 <= length <= 64:
            raise forms.ValidationError("Write a number from 8 to 64.")
        return length


_STOPPED = [(code, words) for code, words in DISCONTINUATION_REASONS.items() if code != WRONG_ENTRY]


class FacilityForm(RecordForm):
    comes_back_after = forms.MultipleChoiceField(
        choices=_STOPPED,
        required=False,
        label="An exam comes back after",
        widget=forms.CheckboxSelectMultiple,
        help_text="Stopped for one of these it goes back on the worklist; for another reason its order ends",
    )

    class Meta:
        model = Facility
        fields = [
            "code", "name", "timezone", "phone", "address", "assigning_authority", "accession_prefix", "comes_back_after",
        ]  # fmt: skip
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
    also_on = forms.MultipleChoiceField(
        choices=Modality,
        required=False,
        label="Also on",
        widget=forms.CheckboxSelectMultiple,
        help_text="Further machines it needs, each with its own entry on the worklist: CT for a PET/CT",
    )
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
            "code", "name", "synonyms", "modality", "also_on", "body_part", "laterality", "duration_minutes", "prep",
            "contrast", "technical_code", "professional_code", "active",
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
