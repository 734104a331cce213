"""The stock: what there is, what runs low or out of date; receiving by scan, counting, carrying; the items."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed, require
from ris.core.errors import BadValue, Conflict, MissingData, NotFound
from ris.core.pages import see_other
from ris.department.sections import sections_for
from ris.supplies import actions, worklists
from ris.supplies.forms import LOT_ACTS, ItemForm, ReceiveForm, title
from ris.supplies.models import Item, Kind, Lot, StockMovement

_REFUSALS = (BadValue, Conflict, MissingData, NotFound)


@needs("supply.view")
@require_safe
def stock(request: UserRequest) -> HttpResponse:
    """The items in use with their lots, narrowed to what needs somebody."""
    asked = request.GET
    kind, state, text = asked.get("kind", ""), asked.get("state", ""), asked.get("q", "").strip()[:80]
    context = {
        "shelves": worklists.shelves(text=text, kind=kind, state=state if state in worklists.STATES else ""),
        "text": text, "kind": kind, "state": state, "kinds": Kind.choices,
        "states": [(name, word, n) for (name, word), n in
                   zip(worklists.STATES.items(), worklists.counts().values(), strict=True)],
        "may_change": allowed(request.user, "supply.change"), "may_recall": allowed(request.user, "supply.recall"),
        "may_items": allowed(request.user, "department.change"),
    }  # fmt: skip
    return render(request, "supplies/stock.html", context)


@needs("supply.change")
@require_http_methods(["GET", "HEAD", "POST"])
def receive(request: UserRequest) -> HttpResponse:
    """What has come: scanned, so that lot and expiry are those of the label."""
    form = ReceiveForm(request.POST if request.method == "POST" else None, initial={"quantity": 1})
    if form.is_bound and form.is_valid():
        told = form.cleaned_data
        try:
            movement = _receive(request, told)
        except _REFUSALS as problem:
            form.add_error(problem.location if problem.location in form.fields else None, problem.message)
        else:
            text = f"{movement.containers.normalize():f} of {movement.lot} are in"
            return see_other(request, reverse("stock"), text)
    context = {"heading": "Receive", "form": form, "act": "Receive", "action": reverse("stock_receive")}
    return render(request, "supplies/act.html", context, status=422 if form.errors else 200)


def _receive(request: UserRequest, told: dict[str, object]) -> StockMovement:
    item, number, expires_on = told["item"], told["number"], told["expires_on"]
    if str(told["scan"]).strip():
        found = actions.find(str(told["scan"]))
        item = found.item
        if found.lot is not None:
            number, expires_on = found.lot.number, found.lot.expires_on or expires_on
    if item is None:
        raise MissingData("Scan one of them, or pick the item.", location="scan")
    return actions.receive_stock(
        item, number, expires_on, told["quantity"], room=told["room"], by=request.user  # type: ignore[arg-type]
    )  # fmt: skip


@needs("supply.change")
@require_http_methods(["GET", "HEAD", "POST"])
def lot_act(request: UserRequest, pk: int, act: str) -> HttpResponse:
    """Count, carry or throw away containers of a lot."""
    lot = Lot.objects.select_related("item").filter(pk=pk).first()
    if lot is None or act not in LOT_ACTS:
        raise NotFound("There is no such lot.")
    form = LOT_ACTS[act][1](request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        told = form.cleaned_data
        try:
            if act == "count":
                actions.count_stock(lot, told["quantity"], room=told["room"], by=request.user)
            elif act == "move":
                actions.move_stock(
                    lot, told["quantity"], source=told["room"], target=told["target"], by=request.user
                )
            else:
                actions.waste_stock(
                    lot, told["quantity"], reason=told["reason"], room=told["room"], by=request.user
                )
        except _REFUSALS as problem:
            form.add_error(problem.location if problem.location in form.fields else None, problem.message)
        else:
            return see_other(request, reverse("stock"), f"{LOT_ACTS[act][0]}: {lot}")
    context = {
        "heading": title(act, lot), "form": form, "act": LOT_ACTS[act][2], "action": request.path,
        "places": worklists.places_of(lot), "lot": lot,
    }  # fmt: skip
    return render(request, "supplies/act.html", context, status=422 if form.errors else 200)


@needs("department.view")
@require_safe
def items(request: UserRequest) -> HttpResponse:
    context = {
        "rows": Item.objects.order_by("-active", "kind", "name", "strength", "volume_ml"),
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "supplies/items.html", context)


@needs("department.view")
@require_http_methods(["GET", "HEAD", "POST"])
def item(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One item in its form."""
    found = Item.objects.filter(pk=pk).first() if pk else Item()
    if found is None:
        raise NotFound("There is no such item.")
    form = ItemForm(request.POST if request.method == "POST" else None, instance=found)
    if request.method == "POST":
        require(request.user, "department.change")
        if form.is_valid():
            saved = actions.save_item(form.instance, by=request.user)
            return see_other(request, reverse("admin_items"), f"{saved} is saved")
    context = {
        "form": form, "record": found, "heading": str(found) if pk else "New item",
        "may_change": allowed(request.user, "department.change"), "action": request.path,
    }  # fmt: skip
    return render(request, "department/record.html", context, status=422 if form.errors else 200)
