"""What is typed about items and stock."""

from datetime import date
from typing import Any

from django import forms

from ris.core.formats import parse_day
from ris.department.forms import RecordForm
from ris.department.models import Room
from ris.supplies.barcodes import has_check_digit
from ris.supplies.models import Item, Lot


class ItemForm(RecordForm):
    class Meta:
        model = Item
        fields = [
            "kind", "name", "strength", "volume_ml", "container", "gtin", "charge_code", "charged_by", "shared",
            "reorder_level", "active",
        ]  # fmt: skip
        labels = {
            "name": "Generic name", "volume_ml": "Volume, mL", "container": "Container", "gtin": "GTIN",
            "charged_by": "The fee is for", "shared": "Serves several patients", "reorder_level": "Low below",
            "active": "In use",
        }  # fmt: skip
        help_texts = {
            "container": "What one of it is called: vial, bottle, syringe, piece",
            "gtin": "The number below the barcode, 8 to 14 digits",
        }
        error_messages = {"gtin": {"unique": "Another item has this number."}}

    def clean_gtin(self) -> str:
        digits = "".join(self.cleaned_data["gtin"].split())
        if not digits:
            return ""
        if len(digits) not in {8, 12, 13, 14} or not has_check_digit(digits):
            raise forms.ValidationError("This number has a wrong digit. Scan it, or type it anew.")
        digits = digits.zfill(14)
        if Item.objects.filter(gtin=digits).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("Another item has this number.")
        return digits

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        by_volume = data.get("shared") or data.get("charged_by") == "ml"
        if by_volume and not data.get("volume_ml"):
            self.add_error("volume_ml", "What is shared or charged by the mL needs its volume.")
        return data


class _StockForm(forms.Form):
    room = forms.ModelChoiceField(
        Room.objects.filter(active=True), required=False, label="Where", empty_label="Store"
    )
    quantity = forms.DecimalField(
        label="How many", min_value=0, max_digits=7, decimal_places=2,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "num"}),
        error_messages={"required": "Type how many.", "invalid": "Type how many, as a number."},
    )  # fmt: skip


class ReceiveForm(_StockForm):
    """A scan says item, lot and expiry; what it does not say is typed."""

    scan = forms.CharField(
        label="Scan one of them", required=False, max_length=200, strip=False,
        widget=forms.TextInput(attrs={"data-scan": True, "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    item = forms.ModelChoiceField(Item.objects.filter(active=True), required=False, empty_label="As scanned")
    number = forms.CharField(label="Lot number", required=False, max_length=20)
    expires_on = forms.CharField(
        label="Use by", required=False, max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "31 3 2027"}),
    )  # fmt: skip
    field_order = ("scan", "item", "number", "expires_on", "quantity", "room")

    def clean_expires_on(self) -> date | None:
        text = self.cleaned_data["expires_on"].strip()
        day = parse_day(text) if text else None
        if text and day is None:
            raise forms.ValidationError("Type a day like 31 3 2027 or 31-Mar-2027.")
        return day


class CountForm(_StockForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["quantity"].label = "How many are there"


class MoveForm(_StockForm):
    target = forms.ModelChoiceField(
        Room.objects.filter(active=True), required=False, label="To", empty_label="Store"
    )
    field_order = ("room", "target", "quantity")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["room"].label = "From"


class WasteForm(_StockForm):
    reason = forms.CharField(
        label="Why", max_length=200, error_messages={"required": "Say why it is thrown away."}
    )


#: What is done to a lot: heading, form, word on the button.
LOT_ACTS: dict[str, tuple[str, type[_StockForm], str]] = {
    "count": ("Count", CountForm, "This many are there"),
    "move": ("Carry", MoveForm, "Carry"),
    "waste": ("Throw away", WasteForm, "Throw away"),
}


def title(act: str, lot: Lot) -> str:
    return f"{LOT_ACTS[act][0]}: {lot.item.label} lot {lot.number}"
