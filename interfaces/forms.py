"""Shapes of what the monitor is told, and of a partner."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.utils import timezone

from interfaces.hl7 import er7
from interfaces.hl7.profile import CHOICES, SECTIONS, Choice
from interfaces.models import FACT_GROUPS, CodeTable, Direction, Endpoint, OnAmbiguous, Protocol
from interfaces.rehearsal import maps_of
from interfaces.worklists import Wanted
from ris.core.formats import parse_day


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=200, label="Reason", error_messages={"required": "Say why, for whoever looks next."}
    )


class NoteForm(forms.Form):
    note = forms.CharField(max_length=300, required=False, label="How far it has come")


_SPANS = (("", "Any time"), ("1", "Last hour"), ("24", "Last 24 h"), ("168", "Last 7 days"))


def _day_input(word: str) -> forms.TextInput:
    return forms.TextInput(attrs={"data-date": "", "placeholder": word, "size": "10", "autocomplete": "off"})


class SearchForm(forms.Form):
    """What somebody looks for among the messages; the text may name a patient, the rest may stand in an address."""

    text = forms.CharField(
        max_length=80,
        required=False,
        label="Find a message",
        widget=forms.TextInput(
            attrs={
                "data-filter": "",
                "placeholder": "Name, MRN, accession, control id, error",
                "autocomplete": "off",
            }
        ),
    )
    type = forms.CharField(
        max_length=42,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "Type, as ADT^A08", "size": "14"}),
    )
    hours = forms.ChoiceField(choices=_SPANS, required=False, label="When")
    since = forms.CharField(max_length=20, required=False, label="From", widget=_day_input("From"))
    until = forms.CharField(max_length=20, required=False, label="To", widget=_day_input("To"))
    status = forms.CharField(max_length=60, required=False, widget=forms.HiddenInput())
    endpoint = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput())

    def clean_type(self) -> str:
        return str(self.cleaned_data["type"]).strip().upper()

    @property
    def wanted(self) -> Wanted:
        """What was understood; a day that cannot be read is no bound."""
        data = self.cleaned_data if self.is_valid() else getattr(self, "cleaned_data", {})
        since = _start(data.get("since", ""))
        until = _start(data.get("until", ""))
        if data.get("hours"):
            since = timezone.now() - timedelta(hours=int(data["hours"]))
        return Wanted(
            status=data.get("status", ""), endpoint=data.get("endpoint"), type=data.get("type", ""), since=since,
            text=data.get("text", "").strip(), until=until + timedelta(days=1) if until else None,
        )  # fmt: skip


def _start(text: str) -> datetime | None:
    """Midnight of the day that was written."""
    day = parse_day(text) if text else None
    return datetime.combine(day, time(), tzinfo=ZoneInfo(settings.RIS_FACILITY_TZ)) if day else None


class EditForm(forms.Form):
    """A message as text, one segment a line."""

    text = forms.CharField(
        strip=False, label="Message",
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "wrap": "off", "class": "raw"}),
        error_messages={"required": "An empty message cannot be sent."},
    )  # fmt: skip
    confirmed = forms.BooleanField(required=False, widget=forms.HiddenInput())


class BenchForm(forms.Form):
    """A message to try, and in whose name."""

    partner = forms.ModelChoiceField(
        Endpoint.objects.none(), label="As if sent by", empty_label=None,
        error_messages={"required": "Pick who would have sent it.", "invalid_choice": "Pick a partner that sends."},
    )  # fmt: skip
    message = forms.CharField(
        label="HL7 message", strip=False, max_length=5_000_000,
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false"}),
        error_messages={"required": "Paste a message, from MSH on."},
    )  # fmt: skip

    def __init__(self, data: Any = None, **choices: Any) -> None:
        super().__init__(data, **choices)
        partner = self.fields["partner"]
        assert isinstance(partner, forms.ModelChoiceField), "declared above"
        partner.queryset = Endpoint.objects.filter(
            protocol=Protocol.MLLP, direction=Direction.IN, active=True
        ).select_related("user")

    @property
    def raw(self) -> bytes:
        """What was pasted, with the line ends that HL7 wants."""
        text = self.cleaned_data["message"].replace("\r\n", "\r").replace("\n", "\r").strip("\r")
        return f"{text}\r".encode()


class PartnerForm(forms.Form):
    """A partner and how it wants to be spoken to; the columns of `actions.save_endpoint` and the profile."""

    name = forms.CharField(max_length=64, error_messages={"required": "Name the partner."})
    protocol = forms.ChoiceField(choices=Protocol.choices, initial=Protocol.MLLP)
    direction = forms.ChoiceField(choices=Direction.choices, initial=Direction.OUT)
    address = forms.CharField(max_length=255, required=False, help_text="HOST:PORT; a URL for DICOMweb")
    ae_title = forms.CharField(label="AE title", max_length=16, required=False)
    match_application = forms.CharField(
        label="Sends as application", max_length=250, required=False, help_text="MSH-3; empty takes any"
    )
    match_facility = forms.CharField(
        label="Sends as facility", max_length=250, required=False, help_text="MSH-4; empty takes any"
    )
    facts = forms.MultipleChoiceField(
        label="Is told of", required=False, choices=[(one, one.capitalize().replace("_", " ")) for one in FACT_GROUPS],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    sending_application = forms.CharField(
        label="Our application", max_length=250, required=False, initial="LIGHTBOX"
    )
    sending_facility = forms.CharField(label="Our facility", max_length=250, required=False)
    receiving_application = forms.CharField(label="Their application", max_length=250, required=False)
    receiving_facility = forms.CharField(label="Their facility", max_length=250, required=False)
    hl7_version = forms.ChoiceField(
        label="HL7 version",
        choices=[(one, one) for one in ("2.3", "2.3.1", "2.4", "2.5", "2.5.1")],
        initial="2.3.1",
    )
    encoding = forms.ChoiceField(
        label="Character set", choices=[(one, one) for one in er7.CHARSETS], initial="UNICODE UTF-8"
    )
    answer_timeout = forms.IntegerField(
        label="Seconds to wait for an answer", min_value=1, max_value=600, initial=30,
        error_messages={"min_value": "Wait at least 1 second.", "max_value": "Wait at most 600 seconds."},
    )  # fmt: skip
    on_ambiguous = forms.ChoiceField(label="When no answer came", choices=OnAmbiguous.choices)
    tls = forms.BooleanField(label="Encrypted line (TLS, certificates on both sides)", required=False)
    certificate_fingerprint = forms.CharField(
        label="Certificate of the partner", max_length=95, required=False,
        help_text="SHA-256 fingerprint, 64 hexadecimal digits; empty takes any that our authority has signed",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, endpoint: Endpoint | None = None) -> None:
        super().__init__(data)
        self.endpoint = endpoint
        self._sent = data
        for key, choice in CHOICES.items():
            self.fields[f"profile_{key}"] = _profile_field(key, choice)
            if endpoint:
                self.initial[f"profile_{key}"] = endpoint.profile.get(key, "")
        if endpoint:
            self.initial.update({name: getattr(endpoint, name) for name in self.base_fields})
            self.fields["name"].disabled = True

    def clean_certificate_fingerprint(self) -> str:
        return str(self.cleaned_data["certificate_fingerprint"]).replace(":", "").replace(" ", "").lower()

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields in boxes: who it is, and how it is spoken to."""
        names = list(self.base_fields)
        who = names.index("facts") + 1
        return [
            ("Who it is", [self[name] for name in names[:who]]),
            ("Messages and line", [self[name] for name in names[who:]]),
        ]

    @property
    def choices(self) -> list[tuple[str, list[forms.BoundField], bool]]:
        """(what about, fields, whether any is chosen) of each section of the profile."""
        return [
            (title, fields, any(field.value() for field in fields))
            for title, section in SECTIONS.items()
            for fields in [[self[f"profile_{key}"] for key in section]]
        ]

    @property
    def values(self) -> dict[str, Any]:
        data = self.cleaned_data
        values = {name: data[name] for name in self.base_fields if name != "name"}
        return {**values, "profile": {key: data[f"profile_{key}"] for key in CHOICES}}

    @property
    def code_maps(self) -> list[tuple[str, str, str]]:
        """(table, theirs, ours) of the rows that say something."""
        if not self.is_bound:
            return maps_of(self.endpoint) if self.endpoint else []
        columns = (self._sent.getlist(f"map_{name}") for name in ("table", "theirs", "ours"))
        return [row for row in zip(*columns, strict=False) if row[1].strip() or row[2].strip()]

    @property
    def map_rows(self) -> list[tuple[str, str, str]]:
        """The rows of the editor: what is known, and room for more."""
        return [*self.code_maps, *[("", "", "")] * 4]

    @property
    def code_tables(self) -> list[tuple[str, str]]:
        return list(CodeTable.choices)


def _profile_field(key: str, choice: Choice) -> forms.Field:
    label = key.replace("_", " ").capitalize()
    if not choice.values:
        return forms.CharField(
            label=label,
            help_text=choice.meaning[:1].upper() + choice.meaning[1:],
            max_length=250,
            required=False,
        )
    usual = f"{choice.default} (as usual)" if choice.default else "as usual"
    options = [("", usual), *((one, one) for one in choice.values)]
    return forms.ChoiceField(
        label=label,
        help_text=choice.meaning[:1].upper() + choice.meaning[1:],
        choices=options,
        required=False,
    )
