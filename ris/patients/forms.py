"""What the desk writes down of a patient."""

from typing import Any

from django import forms

from ris.core.formats import day
from ris.patients.models import Patient, Sex
from ris.patients.search import birth_dates

#: In the order a person is asked.
_SEXES = [Sex.FEMALE, Sex.MALE, Sex.OTHER, Sex.UNKNOWN, Sex.AMBIGUOUS, Sex.NOT_APPLICABLE]


def _text(label: str, column: str, *, required: str = "", **attributes: str) -> forms.CharField:
    """`required` is what is said when nothing was entered."""
    return forms.CharField(
        label=label,
        required=bool(required),
        error_messages={"required": required},
        max_length=getattr(Patient._meta.get_field(column), "max_length", None),
        widget=forms.TextInput(attrs={"autocomplete": "off", **attributes}),
    )


class BirthDateField(forms.CharField):
    """14-Jul-1968, 14 7 1968, Jul-1968 or 1968 as typed; the ISO date, or its known part, as cleaned."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label="Born", required=False, **kwargs)

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        found = birth_dates(text)
        if not found:
            raise forms.ValidationError(
                "Date of birth must be in the past, written as 14-Jul-1968, Jul-1968 or 1968."
            )
        if len(found) > 1:
            first, second = (day(one) for one in found)
            raise forms.ValidationError(f"{first} or {second}? Write the month as a word.")
        return found[0]

    def prepare_value(self, value: Any) -> str:
        """An ISO date of the record is shown as people read it; what was typed stays."""
        text = str(value or "")
        return day(text) if text and birth_dates(text) == [text] else text


class PatientForm(forms.Form):
    family = _text("Family name", "family", required="Enter the family name.")
    given = _text("Given name", "given")
    middle = _text("Middle names", "middle")
    prefix = _text("Title", "prefix")  # type: ignore[assignment]  # a field; Form.prefix stays None
    birth_date = BirthDateField(
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "14-Jul-1968, Jul-1968 or 1968"})
    )
    sex = forms.ChoiceField(
        choices=[(sex.value, sex.label) for sex in _SEXES], initial=Sex.UNKNOWN, widget=forms.RadioSelect
    )
    mobile = _text("Mobile", "mobile", inputmode="tel")
    phone = _text("Other phone", "phone", inputmode="tel")
    email = forms.EmailField(
        label="Email",
        required=False,
        max_length=120,
        error_messages={"invalid": "Write the email as name@place."},
    )
    address = _text("Address", "address")
    language = _text("Language", "language", placeholder="When it is not English")
    allergies = _text("Known allergies", "allergies")
    alerts = _text("Alerts", "alerts", placeholder="Implants, infection, fall risk")


class RegisterForm(PatientForm):
    number = forms.CharField(
        label="Number elsewhere",
        required=False,
        max_length=64,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "placeholder": "Without one the next number here is given"}
        ),
    )
    authority = forms.CharField(
        label="Given out by",
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("number") and not data.get("authority"):
            self.add_error("authority", "Say who gave out the number.")
        return data


class EditForm(PatientForm):
    #: The version of the record that the person saw.
    version = forms.IntegerField(widget=forms.HiddenInput)


class UnmergeForm(forms.Form):
    reason = forms.CharField(
        label="Why the records are of two people",
        max_length=200,
        error_messages={"required": "Say why the merge is taken back."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class MergeForm(forms.Form):
    """`stays` is the record whose name remains; its birth year is typed, so that nobody merges by habit."""

    birth_year = forms.CharField(
        label="Birth year of the record that stays",
        max_length=4,
        error_messages={"required": "Type the birth year of the record that stays."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )
    reason = forms.CharField(
        label="How it is known that they are one person",
        max_length=200,
        error_messages={"required": "Say how it is known that they are one person."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, stays: Patient, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._year = stays.birth_date[:4]
        if not self._year:
            del self.fields["birth_year"]

    def clean_birth_year(self) -> str:
        typed = str(self.cleaned_data["birth_year"]).strip()
        if typed != self._year:
            raise forms.ValidationError("That is not the birth year of the record that stays. Compare again.")
        return typed
