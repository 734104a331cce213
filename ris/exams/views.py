"""The technologist's pages (ux.md 2.10): rooms, a room's list, start, exam."""

import time

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, MissingData, NotFound
from ris.core.formats import parse_day, today
from ris.core.pages import is_live, see_other, unchanged
from ris.department.models import Modality, Room
from ris.exams import actions, identity, worklists
from ris.exams.access import exam_for
from ris.exams.actions.events import note_event
from ris.exams.forms import CommentForm, CompleteForm, DiscontinueForm, StartForm
from ris.exams.images import image_check
from ris.exams.models import Exam
from ris.exams.page import exam_context
from ris.exams.states import EventKind, ExamStatus
from ris.exams.talk import unseen_counts
from ris.orders.access import order_for
from ris.orders.models import Order
from ris.protocolling.worklists import protocols_for
from ris.safety.passport import Stopped, passport_for
from scheduling.states import LIVE

#: How long a scan stands for the patient in the room, in seconds.
_SCAN_HOLDS = 600


@needs("exam.view")
@require_GET
def rooms(request: UserRequest) -> HttpResponse:
    version = worklists.board_version(today())
    if unchanged(request, version):
        return HttpResponse(status=204)
    return _rooms_page(request, version)


def _rooms_page(
    request: UserRequest, version: str = "", *, problem: str = "", status: int = 200
) -> HttpResponse:
    cards = worklists.rooms_board(today())
    if not is_live(request):
        record_access(
            request.user, "rooms.list", count=sum(bool(card.now) + bool(card.next) for card in cards)
        )
    context = {
        "cards": cards,
        "version": version,
        "unmatched": worklists.unmatched_count(),
        "problem": problem,
        "can_perform": allowed(request.user, "exam.perform"),
        "can_reconcile": allowed(request.user, "exam.reconcile"),
    }
    template = "exams/_rooms.html" if is_live(request) else "exams/rooms.html"
    return render(request, template, context, status=status)


def _room(code: str) -> Room:
    room = Room.objects.select_related("facility").filter(code=code, active=True).first()
    if room is None:
        raise NotFound("There is no such room.")
    return room


@needs("exam.view")
@require_GET
def room(request: UserRequest, code: str) -> HttpResponse:
    place = _room(code)
    day = parse_day(request.GET.get("day", "t")) or today()
    version = worklists.room_version(place, day)
    if unchanged(request, version):
        return HttpResponse(status=204)
    return _room_page(request, place, {"day": day, "version": version})


def _room_page(request: UserRequest, place: Room, more: dict[str, object], status: int = 200) -> HttpResponse:
    day = more.setdefault("day", today())
    found = worklists.room_list(place, day)  # type: ignore[arg-type]
    facts = worklists.row_facts(found.orders, request.user, magnet=place.modality == Modality.MR)
    if not is_live(request):
        count = len(found.now) + len(found.next) + len(found.add_ons) + len(found.done)
        record_access(request.user, "room.list", subject=place.code, count=count)
    context = {
        "room": place,
        "list": found,
        "facts": facts,
        "can_talk": allowed(request.user, "exam.talk"),
        "today": day == today(),
        "can_perform": allowed(request.user, "exam.perform"),
        "version": "",
        **more,
    }
    template = "exams/_room.html" if is_live(request) else "exams/room.html"
    return render(request, template, context, status=status)


@needs("exam.perform")
@require_POST
def scan(request: UserRequest, code: str) -> HttpResponse:
    """A wristband scanned on the room's list: the one exam of that patient here, ready to start."""
    place = _room(code)
    wristband = identity.read_wristband(request.POST.get("scan", ""))
    if not wristband.patients:
        problem = f"No patient has the number {wristband.text}. Scan again, or pick the row."
        return _room_page(request, place, {"problem": problem}, status=422)
    orders = worklists.waiting_orders(place, today(), wristband.patients)
    if wristband.order is not None:
        orders = [one for one in orders if one.pk == wristband.order.pk] or orders
    if len(orders) == 1:
        _remember_scan(request, orders[0])
        return see_other(request, f"/orders/{orders[0].pk}/start?room={place.code}")
    name = wristband.patients[0].name.display
    if orders:
        problem = f"{name} has {len(orders)} exams here today. Pick the row."
        return _room_page(request, place, {"problem": problem}, status=409)
    other = worklists.elsewhere(today(), wristband.patients)
    where = f" It is planned in {other.room.name}." if other else ""
    problem = f"Wristband says {name}. No exam of this patient waits in {place.name} today.{where}"
    link = f"/orders/{other.order_id}/start" if other else ""
    return _room_page(request, place, {"problem": problem, "problem_url": link}, status=409)


@needs("exam.perform")
@require_POST
def scan_anywhere(request: UserRequest) -> HttpResponse:
    """A wristband scanned on a page of no room: to the one exam of that patient today, started or not."""
    wristband = identity.read_wristband(request.POST.get("scan", ""))
    if not wristband.patients:
        return _rooms_page(
            request, problem=f"No patient has the number {wristband.text}. Scan again.", status=422
        )
    name = wristband.patients[0].name.display
    running = worklists.running_exam(wristband.patients)
    if running is not None:
        return see_other(request, f"/exams/{running.pk}")
    orders = worklists.waiting_orders(None, today(), wristband.patients)
    if wristband.order is not None:
        orders = [one for one in orders if one.pk == wristband.order.pk] or orders
    if len(orders) != 1:
        how = (
            f"{len(orders)} exams today. Pick the room and the row."
            if orders
            else "no exam that waits today."
        )
        return _rooms_page(request, problem=f"{name} has {how}", status=409)
    _remember_scan(request, orders[0])
    return see_other(request, f"/orders/{orders[0].pk}/start")


@needs("exam.view")
@require_GET
def portable(request: UserRequest) -> HttpResponse:
    """What is done at the bedside, in the order one walks: by ward and bed."""
    version = worklists.portable_version()
    if unchanged(request, version):
        return HttpResponse(status=204)
    stops = worklists.portable_round()
    facts = worklists.row_facts((one.order for one in stops), request.user)
    if not is_live(request):
        record_access(request.user, "portable.list", count=len(stops))
    context = {
        "stops": stops, "facts": facts, "version": version,
        "can_perform": allowed(request.user, "exam.perform"),
    }  # fmt: skip
    return render(request, "exams/_portable.html" if is_live(request) else "exams/portable.html", context)


def _remember_scan(request: UserRequest, order: Order) -> None:
    identity.note_check(request.user, order, "wristband")
    request.session["identified"] = {"order": order.pk, "at": int(time.time())}


def _scanned(request: HttpRequest, order: Order) -> bool:
    """Whether this order's patient was scanned here a short while ago."""
    known = request.session.get("identified", {})
    return known.get("order") == order.pk and bool(time.time() - known["at"] < _SCAN_HOLDS)


@needs("exam.perform")
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: UserRequest, pk: int) -> HttpResponse:
    """The pause before the scan: name, birth date, side; then Start."""
    order = order_for(request.user, pk)
    running = order.exams.filter(status=ExamStatus.IN_PROGRESS).first()
    if running is not None and request.method != "POST":
        return see_other(request, f"/exams/{running.pk}")
    if request.method != "POST":
        return _start_page(request, order, _start_form(request, order))
    form = _start_form(request, order, request.POST)
    if not form.is_valid():
        return _start_page(request, order, form)
    if "birth_year" in form.cleaned_data:
        identity.note_check(request.user, order, "birth year")
    try:
        exams = actions.start_exam(order, by=request.user, room=form.cleaned_data["room"])
    except (MissingData, BadValue, Stopped) as problem:
        form.add_error(None, problem.message)
        return _start_page(request, order, form)
    request.session.pop("identified", None)
    url = f"/exams/{exams[0].pk}"
    return see_other(request, url, f"{order.patient.name.display} has started.", undo=f"{url}/undo-start")


def _start_form(request: UserRequest, order: Order, sent: QueryDict | None = None) -> StartForm:
    planned = order.appointments.select_related("room").filter(status__in=LIVE).first()
    asked = Room.objects.filter(code=request.GET.get("room", ""), facility=order.facility_id).first()
    place = asked or (planned.room if planned else None)
    return StartForm(
        sent, order=order, identified=_scanned(request, order), initial={"room": place.pk if place else None}
    )


def _start_page(request: UserRequest, order: Order, form: StartForm, **more: object) -> HttpResponse:
    context = {
        "order": order,
        "patient": order.patient,
        "procedures": order.procedures.all(),
        "form": form,
        "startable": order.status in worklists.STARTABLE,
        "protocols": protocols_for([order]).get(order.pk, []),
        "passport": passport_for(order),
        "unseen": unseen_counts(request.user, [order.pk]).get(order.pk, (0, 0)),
        **more,
    }
    status = 409 if "mismatch" in more else 422 if form.errors else 200
    return render(request, "exams/start.html", context, status=status)


@needs("exam.perform")
@require_POST
def identify(request: UserRequest, pk: int) -> HttpResponse:
    """A wristband scanned at the table. Another patient's is refused, naming both."""
    order = order_for(request.user, pk)
    wristband = identity.read_wristband(request.POST.get("scan", ""))
    if identity.fits(wristband, order):
        _remember_scan(request, order)
        return see_other(request, f"/orders/{order.pk}/start?{request.GET.urlencode()}")
    identity.note_refusal(request.user, order, wristband)
    request.session.pop("identified", None)
    other = worklists.elsewhere(today(), wristband.patients)
    return _start_page(
        request, order, _start_form(request, order), mismatch=identity.mismatch(wristband, order),
        other_url=f"/orders/{other.order_id}/start" if other else "", other=wristband.patient,
    )  # fmt: skip


@needs("exam.view")
@require_GET
def exam(request: UserRequest, pk: int) -> HttpResponse:
    return _exam_page(request, exam_for(request.user, pk))


def _exam_page(request: UserRequest, found: Exam, form: CompleteForm | None = None) -> HttpResponse:
    context = exam_context(request.user, found, form)
    return render(request, "exams/exam.html", context, status=422 if form and form.errors else 200)


def _back_to_room(found: Exam) -> str:
    return f"/rooms/{found.room.code}" if found.room else "/rooms"


@needs("exam.perform")
@require_POST
def complete(request: UserRequest, pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    form = CompleteForm(request.POST, exam=found)
    if not form.is_valid():
        return _exam_page(request, found, form)
    told = form.cleaned_data
    done = actions.complete_exam(
        found, by=request.user, comment=told["comment"], series_count=told["series_count"],
        image_count=told["image_count"], at=told["ended"],
    )  # fmt: skip
    check = image_check(done)
    if check.held is not None and check.missing:
        note_event(
            done, EventKind.NOTE, text=f"Completed with images missing: {check.words}.", by=request.user
        )
    return see_other(request, _back_to_room(found), f"{found.order.patient.name.display} is completed.")


@needs("exam.perform")
@require_http_methods(["GET", "HEAD", "POST"])
def discontinue(request: UserRequest, pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    form = DiscontinueForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        actions.discontinue_exam(
            found, code=form.cleaned_data["code"], comment=form.cleaned_data["comment"], by=request.user
        )
        return see_other(
            request, _back_to_room(found), f"{found.order.patient.name.display} is discontinued."
        )
    context = {"exam": found, "form": form, "heading": "Stop early", "patient": found.order.patient}
    return render(request, "exams/discontinue.html", context, status=422 if form.errors else 200)


@needs("exam.perform")
@require_POST
def undo_start(request: UserRequest, pk: int) -> HttpResponse:
    """The wrong entry was started: back on the room's list, nothing is charged."""
    found = exam_for(request.user, pk)
    actions.undo_start(found, by=request.user)
    text = f"{found.order.patient.name.display} is back on the list."
    return see_other(request, _back_to_room(found), text)


@needs("exam.perform")
@require_POST
def comment(request: UserRequest, pk: int) -> HttpResponse:
    found = exam_for(request.user, pk)
    form = CommentForm(request.POST)
    if not form.is_valid():
        raise BadValue("The note is longer than 400 characters. Shorten it.")
    actions.comment_exam(found, form.cleaned_data["comment"], by=request.user)
    return see_other(request, f"/exams/{found.pk}", "The note is kept.")
