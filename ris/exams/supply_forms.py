"""What the technologist types or taps when something is given."""

from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from ris.core.formats import parse_day
from ris.exams.actions import NewAdministration
from ris.exams.models_administrations import Route
from ris.supplies.models import Item, Kind
from ris.supplies.worklists import usable_lots

SITES = ("L antecubital", "R antecubital", "L forearm", "R forearm", "L hand", "R hand", "Port")
NEEDLES = ("18 G", "20 G", "22 G", "24 G")
WASTE_REASONS = ("Dropped or broken", "Opened, exam not done", "Left over", "Label damaged")


class GiveForm(forms.Form):
    """One container, or a part of one; what was scanned stays in it until it is saved."""

    scan = forms.CharField(required=False, max_length=200, strip=False, widget=forms.HiddenInput)
    lot = forms.ModelChoiceField(usable_lots().none(), required=False, widget=forms.HiddenInput)
    number = forms.CharField(label="Lot number", required=False, max_length=20)
    expires_on = forms.CharField(
        label="Use by", required=False, max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "31 3 2027"}),
    )  # fmt: skip
    volume_ml = forms.DecimalField(
        label="Volume, mL", required=False, max_digits=6, decimal_places=1,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "num"}),
        error_messages={"invalid": "Type the volume as a number, such as 70."},
    )  # fmt: skip
    rate_ml_s = forms.DecimalField(
        label="Rate, mL/s", required=False, max_digits=4, decimal_places=1, min_value=0,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "num"}),
        error_messages={"invalid": "Type the rate as a number, such as 3."},
    )  # fmt: skip
    quantity = forms.DecimalField(
        label="How many", required=False, initial=1, max_digits=5, decimal_places=0,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "class": "num"}),
        error_messages={"invalid": "Type how many, such as 1."},
    )  # fmt: skip
    site = forms.ChoiceField(
        label="Site", required=False, choices=[(one, one) for one in SITES], widget=forms.RadioSelect
    )
    needle = forms.ChoiceField(
        label="Cannula", required=False, choices=[(one, one) for one in NEEDLES], widget=forms.RadioSelect
    )
    route = forms.ChoiceField(
        label="Way",
        required=False,
        choices=[("", "Intravenous"), *[one for one in Route.choices if one[0] != "iv"]],
    )
    wasted = forms.BooleanField(label="Nothing of it was given", required=False)
    reason = forms.CharField(
        label="Why", required=False, max_length=200, widget=forms.TextInput(attrs={"list": "waste-reasons"})
    )
    acknowledged = forms.BooleanField(label="I have read this and go on", required=False)

    def __init__(self, *args: Any, item: Item, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.item = item
        self.fields["lot"].queryset = usable_lots()  # type: ignore[attr-defined]
        unused = {"volume_ml", "rate_ml_s", "route"} if item.volume_ml is None else {"quantity"}
        if item.kind == Kind.CONSUMABLE:
            unused |= {"site", "needle"}
        for name in unused:
            del self.fields[name]

    def clean_expires_on(self) -> date | None:
        text = self.cleaned_data["expires_on"].strip()
        if not text:
            return None
        day = parse_day(text)
        if day is None:
            raise forms.ValidationError("Type a day like 31 3 2027 or 31-Mar-2027.")
        return day

    @property
    def given(self) -> NewAdministration:
        told = self.cleaned_data
        return NewAdministration(
            scan=told["scan"], lot=told["lot"], number=told["number"], expires_on=told["expires_on"],
            volume_ml=told.get("volume_ml"), quantity=told.get("quantity") or Decimal(1), rate_ml_s=told.get("rate_ml_s"),
            route=told.get("route", ""), site=told.get("site", ""), needle=told.get("needle", ""),
            wasted=told["wasted"], reason=told["reason"], acknowledged=told["acknowledged"],
        )  # fmt: skip
