"""What a biller fills in."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator

OTHER = "Other"
HOLD_REASONS = (
    "No authorization number",
    "Referrer has no identifier",
    "Visit not known to the payer",
    "Wrong code",
    OTHER,
)
VOID_REASONS = ("Charged twice", "Exam not done", "Wrong patient", "Written off", OTHER)


class ReasonForm(forms.Form):
    """One of the usual reasons, and more words where they are needed."""

    reason = forms.ChoiceField(
        label="Reason", widget=forms.RadioSelect, error_messages={"required": "Pick the reason."}
    )
    words = forms.CharField(label="In words", max_length=200, required=False)

    def __init__(self, data: object = None, *, reasons: tuple[str, ...]) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a QueryDict or None
        self.fields["reason"].choices = [(one, one) for one in reasons]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("reason") == OTHER and not data.get("words"):
            self.add_error("words", "Say the reason in words.")
        return data

    @property
    def said(self) -> str:
        reason, words = self.cleaned_data["reason"], self.cleaned_data["words"]
        return words if reason == OTHER else ": ".join(part for part in (reason, words) if part)


class FeeForm(forms.Form):
    code = forms.CharField(
        max_length=16,
        validators=[
            RegexValidator(r"^[A-Z0-9._-]+$", "A code has capital letters, digits, dots and dashes.")
        ],
        error_messages={"required": "Enter the charge code."},
    )
    name = forms.CharField(label="What it is for", max_length=80, required=False)
    amount = forms.DecimalField(
        max_digits=10,
        decimal_places=2,
        min_value=0,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "class": "num"}),
        error_messages={
            "required": "Enter the amount.",
            "invalid": "Enter the amount as a number, for example 180.00.",
            "min_value": "A fee cannot be less than zero.",
        },
    )
    currency = forms.CharField(
        max_length=3,
        initial="USD",
        help_text="ISO 4217, three letters",
        validators=[RegexValidator(r"^[A-Z]{3}$", "A currency has three capital letters, for example USD.")],
    )
