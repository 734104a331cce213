"""The arrivals board and the day schedule."""

from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core import formats
from ris.core.errors import BadValue, MissingData, NotFound
from ris.core.pages import is_htmx, is_live, see_other, toast, unchanged
from ris.orders.access import order_for, orders_for
from scheduling import actions, worklists
from scheduling.access import appointment_for, appointment_to_change
from scheduling.forms import OVERBOOK_REASONS, BlockForm, BookForm, CancelForm, MoveForm, PerformerForm
from scheduling.grid import day_grid
from scheduling.labels import accession_code
from scheduling.models import Appointment, Block
from scheduling.slots import Slot
from scheduling.worklists import Entry, Plan


def _may(user: User) -> dict[str, bool]:
    """What the pages offer this user; the verbs ask again."""
    return {
        "book": allowed(user, "appointment.book"),
        "change": allowed(user, "appointment.change"),
        "check_in": allowed(user, "appointment.check_in"),
        "block": allowed(user, "schedule.block"),
        "overbook": allowed(user, "schedule.overbook"),
        "register": allowed(user, "patient.register"),
    }


# ---- the arrivals board ----


@needs("schedule.view")
@require_safe
def board(request: UserRequest) -> HttpResponse:
    now, today = timezone.now(), formats.today()
    version = worklists.board_version(today, now)
    if unchanged(request, version):
        return HttpResponse(status=204)
    asked, entries = request.GET, worklists.with_safety(worklists.entries_of(today, now))
    shown = worklists.board(
        entries, now, modality=asked.get("m", ""), only=asked.get("f", ""), whole="all" in asked
    )
    context = {
        "board": shown, "version": version, "only": asked.get("f", ""), "modality": asked.get("m", ""),
        "whole": "all" in asked, "modalities": worklists.modalities(), "may": _may(request.user),
    }  # fmt: skip
    if is_live(request):
        return render(request, "scheduling/_board.html", context)
    record_access(request.user, "board.list", count=shown.count)
    context |= _rooms(request, now, entries, version)
    return render(request, "scheduling/board.html", context)


@needs("schedule.view")
@require_safe
def board_rooms(request: UserRequest) -> HttpResponse:
    """The rooms at the right of the board."""
    now, today = timezone.now(), formats.today()
    version = worklists.board_version(today, now)
    if unchanged(request, version):
        return HttpResponse(status=204)
    context = _rooms(request, now, worklists.entries_of(today, now), version)
    return render(request, "scheduling/_board_rooms.html", context)


def _rooms(request: HttpRequest, now: datetime, entries: list[Entry], version: str) -> dict[str, Any]:
    modality = request.GET.get("m", "")
    cards = worklists.room_cards(entries, now, modality=modality)
    return {"cards": cards, "busy": sum(card.state == "busy" for card in cards), "version": version,
            "modality": modality}  # fmt: skip


# ---- what the front desk does to an appointment ----


def _name(appointment: Appointment) -> str:
    name = appointment.patient.name
    return ", ".join(part for part in (name.family.upper(), name.given) if part)


def _done(
    request: HttpRequest, appointment: Appointment, words: str, *, undo: str = "", url: str = ""
) -> HttpResponse:
    """Say what was done; the lists on the page fetch the change themselves."""
    text = f"{_name(appointment)} {words}"
    undo = undo if undo.startswith("/") or not undo else reverse(undo, args=[appointment.pk])
    if is_htmx(request):
        # An empty answer closes the sheet that asked.
        in_sheet = request.headers.get("HX-Target") == "sheet"
        return toast(request, HttpResponse(status=200 if in_sheet else 204), text, undo=undo)
    return see_other(request, url or _day_url(appointment), text, undo=undo)


def _day_url(appointment: Appointment) -> str:
    return reverse("schedule_day", args=[formats.local(appointment.starts_at).date()])


def _when(start: datetime) -> str:
    """10:30, or with its day when that is not today."""
    day = formats.local(start).date()
    return (
        formats.clock(start) if day == formats.today() else f"{formats.weekday(day)} {formats.clock(start)}"
    )


@needs("appointment.check_in")
@require_POST
def check_in(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.check_in(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, "has arrived", undo="undo_check_in", url=reverse("board"))


@needs("appointment.check_in")
@require_POST
def undo_check_in(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.undo_check_in(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, "is expected again", url=reverse("board"))


@needs("appointment.check_in")
@require_POST
def make_ready(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.make_ready(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, f"is called to {done.room.name}", undo="undo_ready", url=reverse("board"))


@needs("appointment.check_in")
@require_POST
def undo_ready(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.undo_ready(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, "waits again", url=reverse("board"))


@needs("appointment.change")
@require_POST
def no_show(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.mark_no_show(appointment_to_change(request.user, pk), by=request.user)
    words = "did not come; the order waits to be booked again"
    return _done(request, done, words, undo="restore_appointment", url=reverse("board"))


@needs("appointment.change")
@require_POST
def restore(request: UserRequest, pk: int) -> HttpResponse:
    """Take back a cancellation or a no-show."""
    done = actions.restore_appointment(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, f"is booked again for {_when(done.starts_at)} in {done.room.name}")


@needs("appointment.change")
@require_POST
def confirm(request: UserRequest, pk: int) -> HttpResponse:
    done = actions.confirm(appointment_to_change(request.user, pk), by=request.user)
    return _done(request, done, "has confirmed")


@needs("appointment.change")
@require_POST
def unbook(request: UserRequest, pk: int) -> HttpResponse:
    """Take back a booking."""
    done = actions.cancel_appointment(
        appointment_to_change(request.user, pk), reason="Booked in error", by=request.user
    )
    return _done(request, done, "is not booked; the order waits again")


@needs("schedule.view")
@require_safe
def appointment(request: UserRequest, pk: int) -> HttpResponse:
    found = appointment_for(request.user, pk)
    return render(
        request,
        "scheduling/appointment.html",
        {
            "heading": f"{formats.span(found.starts_at, found.ends_at)} · {found.room.name}",
            "entry": Entry(found, timezone.now()),
            "appointment": found,
            "day": formats.local(found.starts_at).date(),
            "may": _may(request.user),
        },
    )


@needs("appointment.change")
def cancel(request: UserRequest, pk: int) -> HttpResponse:
    found = appointment_for(request.user, pk)
    form = CancelForm(request.POST or None, initial={"version": found.version})
    if request.method == "POST" and form.is_valid():
        done = actions.cancel_appointment(
            found, reason=form.cleaned_data["reason"], version=form.cleaned_data["version"], by=request.user
        )
        words = f"is cancelled for {_when(done.starts_at)}; the order waits to be booked again"
        return _done(request, done, words, undo="restore_appointment")
    context = {"heading": "Cancel booking", "appointment": found, "form": form}
    return render(request, "scheduling/cancel.html", context, status=422 if form.is_bound else 200)


@needs("appointment.change")
def performer(request: UserRequest, pk: int) -> HttpResponse:
    """Who is planned to do it, which the worklist and the image manager are told."""
    found = appointment_for(request.user, pk)
    form = PerformerForm(
        request.POST or None, initial={"performer": found.performer_id, "version": found.version}
    )
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data["performer"]
        done = actions.assign_performer(found, chosen, version=form.cleaned_data["version"], by=request.user)
        return _done(
            request, done, f"is planned for {chosen}" if chosen else "is planned for nobody in particular"
        )
    context = {"heading": "Who performs it", "appointment": found, "form": form}
    return render(request, "scheduling/performer.html", context, status=422 if form.is_bound else 200)


@needs("schedule.view")
@require_safe
def label(request: UserRequest, pk: int) -> HttpResponse:
    """A sticker of 57 × 32 mm for the request or the wrist."""
    found = appointment_for(request.user, pk)
    context = {"appointment": found, "entry": Entry(found, timezone.now()),
               "code": accession_code(found.order.accession_number)}  # fmt: skip
    return render(request, "scheduling/label.html", context)


# ---- the schedule ----

PARTS = (("", "Soonest"), ("am", "Morning"), ("pm", "Afternoon"))


@needs("schedule.view")
@require_safe
def schedule(request: UserRequest) -> HttpResponse:
    """To the day asked for as people write it, or to today."""
    asked = request.GET.copy()
    day = formats.parse_day("".join(asked.pop("date", []))) or formats.today()
    query = f"?{asked.urlencode()}" if asked else ""
    return HttpResponseRedirect(reverse("schedule_day", args=[day]) + query)


@needs("schedule.view")
@require_safe
def schedule_day(request: UserRequest, day: date) -> HttpResponse:
    now = timezone.now()
    version = worklists.day_version(day, now)
    if unchanged(request, version):
        return HttpResponse(status=204)
    asked = request.GET
    since = formats.parse_day(asked.get("from", "")) or day
    plan = _plan(request, day, since, now)
    chosen = _chosen(asked, day, plan)
    wanted = asked.getlist("m")
    grid = day_grid(day, now, modalities=wanted, plan=plan, chosen=chosen)
    as_list = asked.get("view") == "list"
    context: dict[str, Any] = {
        "day": day, "today": formats.today(), "previous": day - timedelta(days=1), "next": day + timedelta(days=1),
        "since": since, "grid": grid, "version": version, "plan": plan, "chosen": chosen, "as_list": as_list,
        "fits": bool(plan and chosen and (chosen in plan.gaps or _proposed(plan, chosen))),
        "one_room": asked.get("r", ""), "may": _may(request.user), "part": asked.get("part", ""), "parts": PARTS,
        "chosen_day": formats.local(chosen.start).date() if chosen else day, "wanted": wanted,
        "later": since + timedelta(days=worklists.HEAT_DAYS), "now": now, "overbook_reasons": OVERBOOK_REASONS,
    }  # fmt: skip
    if is_live(request):
        return render(request, "scheduling/_day_list.html" if as_list else "scheduling/_grid.html", context)
    record_access(request.user, "schedule.list", count=grid.count)
    context["chips"] = _chips(asked, wanted)
    if allowed(request.user, "order.view"):
        context |= _waiting(request, day)
    return render(request, "scheduling/schedule.html", context)


def _chips(asked: QueryDict, wanted: list[str]) -> list[tuple[str, bool, str]]:
    """(word, chosen, query that turns it over) for each modality."""
    chips = []
    for code, word in worklists.modalities():
        query = asked.copy()
        query.setlist("m", [one for one in wanted if one != code] if code in wanted else [*wanted, code])
        chips.append((word, code in wanted, f"?{query.urlencode()}"))
    return chips


def _plan(request: UserRequest, day: date, since: date, now: datetime) -> Plan | None:
    """The order to book or the appointment to move that the address names."""
    asked, user = request.GET, request.user
    moving = None
    if asked.get("move", "").isdecimal():
        fetch = appointment_to_change if is_live(request) else appointment_for
        moving = fetch(user, int(asked["move"]))
        order = moving.order
    elif asked.get("order", "").isdecimal():
        pk = int(asked["order"])
        found = orders_for(user).filter(pk=pk).first() if is_live(request) else order_for(user, pk)
        if found is None:
            raise NotFound("There is no such order.")
        order = found
    else:
        return None
    return worklists.plan_for(
        order, day=day, since=since, now=now, appointment=moving, part=asked.get("part", "")
    )


def _chosen(asked: QueryDict, day: date, plan: Plan | None) -> Slot | None:
    """The time pointed at, else the best."""
    if plan is None or plan.exam is None or plan.problem:
        return None
    try:
        at = datetime.strptime(asked.get("at", ""), "%H:%M").time()  # noqa: DTZ007  a time of day
        room = int(asked.get("room", ""))
    except ValueError:
        return plan.proposals[0].slot if plan.proposals else None
    start = datetime.combine(day, at, ZoneInfo(settings.RIS_FACILITY_TZ))
    return worklists.slot_at(room, start, plan.exam)


def _proposed(plan: Plan, chosen: Slot) -> bool:
    return any(one.slot == chosen for one in plan.proposals)


def _waiting(request: UserRequest, day: date) -> dict[str, Any]:
    waiting = worklists.waiting_requests(request.user, chosen=request.GET.getlist("m"))
    shown = list(waiting[: worklists.REQUESTS_SHOWN])
    count = len(shown) if len(shown) < worklists.REQUESTS_SHOWN else waiting.count()
    return {"requests": shown, "requests_count": count, "day": day, "wanted": request.GET.getlist("m"),
            "may": _may(request.user), "requests_version": worklists.requests_version(request.user)}  # fmt: skip


@needs("order.view")
@require_safe
def requests(request: UserRequest) -> HttpResponse:
    """The orders that wait to be booked, as the left pane shows them."""
    if unchanged(request, worklists.requests_version(request.user)):
        return HttpResponse(status=204)
    day = formats.parse_day(request.GET.get("date", "")) or formats.today()
    return render(request, "scheduling/_requests.html", _waiting(request, day))


def _filled(form: forms.Form) -> dict[str, Any]:
    """What the form holds. Raises MissingData or BadValue with its first complaint."""
    if form.is_valid():
        return form.cleaned_data
    location, complaints = next(iter(form.errors.items()))
    kind = BadValue if form.data.get(location) else MissingData
    raise kind(str(complaints[0]), location=location)


@needs("appointment.book")
@require_POST
def book(request: UserRequest) -> HttpResponse:
    filled = _filled(BookForm(request.POST))
    order = orders_for(request.user).filter(pk=filled["order"]).first()
    if order is None:
        raise NotFound("There is no such order.")
    done = actions.book(
        order, room=filled["room"], start=filled["start"], note=filled["note"],
        overbook_reason=filled["overbook_reason"], by=request.user,
    )  # fmt: skip
    text = f"{_name(done)} is booked for {_when(done.starts_at)} in {done.room.name}"
    return see_other(request, _back_to_grid(request, done), text, undo=reverse("unbook", args=[done.pk]))


@needs("appointment.change")
@require_POST
def move(request: UserRequest, pk: int) -> HttpResponse:
    found = appointment_to_change(request.user, pk)
    # Undo carries the old place in the address: it is posted without a form.
    filled = _filled(MoveForm({**request.GET.dict(), **request.POST.dict()}))
    old = {"room": found.room_id, "start": found.starts_at.isoformat()}
    done = actions.reschedule(
        found, room=filled["room"], start=filled["start"], version=filled["version"],
        overbook_reason=filled["overbook_reason"], by=request.user,
    )  # fmt: skip
    words = f"is moved to {_when(done.starts_at)} in {done.room.name}"
    if request.GET:
        return _done(request, done, words)
    undo = f"{reverse('move_appointment', args=[pk])}?{urlencode(old)}"
    return see_other(request, _back_to_grid(request, done), f"{_name(done)} {words}", undo=undo)


def _back_to_grid(request: HttpRequest, done: Appointment) -> str:
    kept = urlencode([("m", one) for one in request.POST.getlist("m")])
    return f"{_day_url(done)}{'?' if kept else ''}{kept}#appt-{done.pk}"


# ---- blocked times ----


@needs("schedule.block")
def block(request: UserRequest) -> HttpResponse:
    asked = request.GET
    form = BlockForm(request.POST or None, initial={"day": asked.get("date", ""), "room": asked.get("room")})
    if request.method == "POST" and form.is_valid():
        start, end = form.span
        try:
            made = actions.block_room(
                form.cleaned_data["room"], start=start, end=end, reason=form.cleaned_data["reason"],
                by=request.user,
            )  # fmt: skip
        except BadValue as refused:
            form.add_error("closes", refused.message)
        else:
            met = len(worklists.affected_by(made))
            text = f"{made.room.name} is blocked {formats.span(start, end)}"
            text += f". {met} booked then: open the block to move them" if met else ""
            url = reverse("schedule_day", args=[form.cleaned_data["day"]])
            return see_other(request, url, text, undo=reverse("unblock", args=[made.pk]))
    context = {"heading": "Block a room", "form": form}
    return render(request, "scheduling/block.html", context, status=422 if form.is_bound else 200)


def _block(pk: int) -> Block:
    found = Block.objects.select_related("room").filter(pk=pk).first()
    if found is None:
        raise NotFound("That time is not blocked any more.")
    return found


@needs("schedule.view")
@require_safe
def blocked(request: UserRequest, pk: int) -> HttpResponse:
    """A blocked time and who is booked in it."""
    found = _block(pk)
    met = worklists.affected_by(found)
    record_access(request.user, "block.list", count=len(met))
    context = {"heading": f"{found.room.name} blocked {formats.span(*found.span)}", "shut": found,
               "day": formats.local(found.span[0]).date(), "entries": met, "may": _may(request.user)}  # fmt: skip
    return render(request, "scheduling/blocked.html", context)


@needs("schedule.block")
@require_POST
def unblock(request: UserRequest, pk: int) -> HttpResponse:
    found = _block(pk)
    actions.unblock_room(found, by=request.user)
    text = f"{found.room.name} is open again {formats.span(*found.span)}"
    if is_htmx(request):
        in_sheet = request.headers.get("HX-Target") == "sheet"
        return toast(request, HttpResponse(status=200 if in_sheet else 204), text)
    day = formats.local(found.span[0]).date()
    return see_other(request, reverse("schedule_day", args=[day]), text)
