"""Pages that show every component of the design system with invented people, for looking at and for axe."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path

from ris.accounts.doors import needs
from ris.core.errors import Conflict
from ris.core.names import PersonName
from ris.core.pages import is_live, see_other, toast, unchanged

NOW = datetime(2026, 11, 19, 14, 34, tzinfo=UTC)  # 09:34 in Harbour


def patient(name: str, born: str, sex: str, mrn: str, **more: str) -> SimpleNamespace:
    family, given = name.split(", ")
    given, _, title = given.partition(" (")
    values = {"allergies": "", "alerts": "", "died_on": "", "mobile": "", **more}
    person = PersonName(family, given, prefix=title.rstrip(")"))
    return SimpleNamespace(name=person, birth_date=born, sex=sex, mrn=mrn, **values)


OKAFOR = patient("Okafor, Adaeze (Mrs)", "1968-07-14", "F", "004417268", mobile="+4470000007719")
DUARTE = patient("Duarte, Silvia (Mrs)", "1982-04-03", "F", "002381947", allergies="penicillin")

D, P, S, T, N = "done", "progress", "stop", "todo", "none"


def checks(*states: str) -> list[tuple[str, str]]:
    return list(zip(("Identity", "Forms", "Safety", "Authorization", "Payment"), states, strict=True))


def row(time: str, sub: str, status: str, who: SimpleNamespace, exam: str, room: str, **more: Any) -> Any:
    values = {"flag": None, "priority": "routine", "edge": "", "wait": None, "top": 20, "act": "Call to room"}
    return SimpleNamespace(
        time=time, sub=sub, status=status, who=who, exam=exam, room=room, id=who.mrn, **{**values, **more}
    )


WAITING = [
    row("09:10", "came 09:03", "arrived", patient("Diallo, Awa (Ms)", "1991-02-02", "F", "002918440"),
        "MR spine cervical", "MR 2", flag=("globe", "French, interpreter here", "wait"), edge="edge-stop",
        wait=31, over="over", checks=checks(D, D, P, D, N), act="Open safety", danger=True),
    row("09:45", "came 09:18", "ready", patient("Petrova, Elena (Mrs)", "1975-01-22", "F", "002447396"),
        "MR liver + contrast", "MR 1", wait=16, checks=checks(D, D, D, D, D)),
    row("09:40", "came 09:21", "arrived", patient("Gomez, Raúl (Mr)", "1947-09-19", "M", "000774105"),
        "US fistula mapping", "US 2", flag=("wheel", "Wheelchair", "mut"), wait=13, checks=checks(D, D, N, D, N)),
    row("09:45", "came 09:25", "arrived", patient("Vega, Sol (Mx)", "2001-03-30", "N", "005310662"),
        "XR chest PA", "XR 1", wait=9, top=15, checks=checks(D, D, D, N, P)),
    row("10:00", "came 09:26", "ready", patient("Hussein, Amira (Mrs)", "1959-01-11", "F", "001556903"),
        "CT neck + contrast", "CT 1", flag=("warn", "Iodine reaction 2019", ""), wait=8, checks=checks(D, D, D, D, D)),
    row("09:34", "just now", "arrived", patient("Todd, Liam (Mr)", "1996-12-08", "M", "005871224"), "XR wrist R",
        "XR 1", flag=("people", "Same surname in XR 1", "wait"), priority="stat", wait=0, top=10,
        checks=checks(D, P, D, N, N), act="Finish check-in", primary=True),
]  # fmt: skip
EXPECTED = [
    row("09:15", "19 min late", "late", patient("Brenner, Lotte (Mrs)", "1950-05-14", "F", "001118356"),
        "MG screening", "MG 1", edge="edge-wait", checks=checks(N, N, N, N, N), act="Check in"),
    row("09:50", "in 16 min", "confirmed", patient("Moore, Beth (Ms)", "1989-10-05", "F", "004790113"),
        "US renal", "US 1", checks=checks(N, D, N, N, N), act="Check in"),
    row("10:30", "in 56 min", "confirmed", patient("Martin, Hugo (Mr)", "1971-07-09", "M", "003015729"),
        "MR shoulder R", "MR 1", flag=("magnet", "Implant not cleared", ""), checks=checks(N, D, S, D, N),
        act="Check in"),
    row("10:30", "in 56 min", "scheduled", OKAFOR, "CT abdomen + pelvis + contrast", "CT 1",
        checks=checks(N, N, D, P, P), act="Check in"),
]  # fmt: skip
LEAVING = [
    row("08:45", "done 09:27", "completed", patient("Fournier, Alix (Mr)", "1965-11-21", "M", "001902447"),
        "CT cardiac calcium", "CT 2", checks=checks(D, D, D, D, D), act="Check out"),
]  # fmt: skip
KPIS = [
    (40, "Checked in", "of 112 today", ""), (7, "Waiting", "median 9 min", ""), 
    (1, "Over 20 min", "target none", "stop"),
    (1, "Late", "2 no-shows so far", "wait"), (1, "Not cleared", "MR implant, 10:30", "wait"),
    (4, "Need you", "2 auth · 1 form · 1 pay", ""),
]  # fmt: skip
ROOMS = [
    ("CT 1", "4 of 30 min", "ROSSI, Carla · pulmonary angio", 4, 30, "info", ""),
    ("CT 2", "19 of 45 min", "ABEBE, Dawit · coronary angio", 19, 45, "info", ""),
    ("MR 1", "expect +7 min", "OKONKWO, Ife · spine whole", 38, 50, "wait", ""),
    ("MR 2", "Free 24 min", "Next DIALLO, Awa · needs safety", 0, 0, "", "free"),
    ("XR 2", "Down", "Detector fault · engineer 11:00", 0, 0, "", "down"),
]

BLOCKS = [
    ("CT 1", "Bay A", "TK", 82, "info", [
        ("booked", "completed", "is-done", "BAUER, Ingrid", "Head plain", 30, 30),
        ("", "completed", "is-done", "SATO, Kenji", "Chest + contrast", 60, 30),
        ("", "started", "is-started", "ROSSI, Carla", "Pulmonary angio", 150, 30),
        ("", "ready", "is-ready", "HUSSEIN, Amira", "Neck + contrast", 180, 30),
        ("", "plus", "is-hold", "OKAFOR, Adaeze", "Abdomen + pelvis", 210, 45),
        ("", "scheduled", "is-booked", "NOVAK, Jan", "Chest plain", 300, 30),
        ("", "confirmed", "is-confirmed", "OYELARAN, Tobi", "Abdomen triphasic", 330, 30),
    ], [("reserve", "ED reserve", "frees 10:15", 255, 45), ("service", "Break", "TK", 360, 30)]),
    ("US 2", "Vasc", "none", 63, "wait", [
        ("", "arrived", "is-arrived", "GOMEZ, Raúl", "Fistula map", 160, 40),
        ("", "scheduled", "is-booked is-clash", "STEIN, Ada", "Aorta", 200, 40),
        ("", "scheduled", "is-booked is-clash shift-1", "KHAN, Omar", "Aorta", 220, 40),
        ("", "late", "is-late", "BRENNER, Lotte", "Screening", 135, 15),
        ("", "noshow", "is-noshow", "PRICE, Neil", "Renal", 100, 15),
    ], [("closed", "Closed until 09:00", "", 0, 90)]),
]  # fmt: skip

READING = [
    ("6 min", "up2", "stop", 90, "SAMUELS, Grace", "61 F", "CT pulmonary angiogram", "ED", "er", "AI PE?", ""),
    ("24 min", "up1", "wait", 60, "DUARTE, Silvia", "44 F", "CT abdomen + pelvis + contrast",
     "4 East", "ip", "3 priors", "is-open"),
    ("38 min", "up1", "", 40, "ROY, Devan", "52 M", "CT coronary angiogram", "OP", "", "Dr Haddad", "dim"),
    ("1 h 12", "", "", 30, "KOWALSKI, Ewa", "35 F", "MR brain, MS follow-up", "OP", "", "7 priors", ""),
]  # fmt: skip


class BookForm(forms.Form):
    reason = forms.CharField(
        label="Reason for the exam", error_messages={"required": "Enter the reason for the exam"}
    )
    wanted_by = forms.CharField(label="Wanted by", required=False, widget=forms.TextInput({"data-date": ""}))
    side = forms.ChoiceField(
        label="Side", widget=forms.RadioSelect, choices=[("L", "Left"), ("R", "Right"), ("B", "Both")],
        error_messages={"required": "Choose a side"},
    )  # fmt: skip
    room = forms.ChoiceField(label="Room", choices=[("", "Any"), ("CT1", "CT 1")], required=False)
    note = forms.CharField(
        label="Note to the technologist", required=False, widget=forms.Textarea({"rows": 2})
    )
    duration = forms.IntegerField(label="Duration", required=False, help_text="With turn-over")


state: dict[str, Any] = {"version": 1, "rows": [], "posts": 0, "order": "abc", "drafts": []}


@needs("home.view")
def show(request: HttpRequest, name: str) -> HttpResponse:
    form = BookForm(request.POST or None) if request.method == "POST" else BookForm()
    if request.method == "POST" and form.is_valid():
        state["posts"] += 1
        return see_other(
            request, "/gallery/components", f"Booked number {state['posts']}", undo="/gallery/undo"
        )
    context = {
        "patient": DUARTE, "okafor": OKAFOR, "waiting": WAITING, "expected": EXPECTED, "leaving": LEAVING,
        "kpis": KPIS,
        "rooms": ROOMS, "blocks": BLOCKS, "reading": READING, "form": form, "now": NOW,
        "later": NOW + timedelta(minutes=45),
        "dead": patient("Weiss, Karl (Mr)", "1941-05", "M", "000111222", died_on="2026-10-02"),
        "hours": [(60 * h, f"{7 + h:02d}:00") for h in range(10)],
        "statuses": ["requested", "held", "scheduled", "confirmed", "late", "arrived", "ready", "in_progress",
                     "completed", "discontinued", "unread", "reading", "preliminary", "final", "addended", "corrected",
                     "cancelled", "no_show",
                     "captured", "sent", "rejected", "paid", "queued", "accepted", "failed", "paused"],
        "heading": "Cancel booking",
    }  # fmt: skip
    return render(request, f"gallery/{name}.html", context, status=422 if form.is_bound else 200)


@needs("home.view")
def sheet(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return toast(request, HttpResponse(), "OKAFOR's booking is cancelled", undo="/gallery/undo")
    return render(request, "gallery/sheet.html", {"heading": "Cancel booking", "patient": OKAFOR})


@needs("home.view")
def undo(request: HttpRequest) -> HttpResponse:
    state["undone"] = True
    return toast(request, HttpResponse(status=204), "Taken back")


@needs("home.view")
def live(request: HttpRequest) -> HttpResponse:
    if state.get("down"):
        return HttpResponse(status=503)
    if unchanged(request, state["version"]):
        return HttpResponse(status=204)
    context = {"rows": list(state["order"]), "version": state["version"], "words": state.get("words", {})}
    return render(request, "gallery/_live.html" if is_live(request) else "gallery/live.html", context)


@needs("home.view")
def act(request: HttpRequest, what: str) -> HttpResponse:
    state.setdefault("acted", []).append(what)
    if what == "refuse":
        raise Conflict("TK changed the phone to …7720 at 09:33.")
    return toast(request, HttpResponse(status=204), f"Row {what} done", undo="/gallery/undo")


@needs("home.view")
def options(request: HttpRequest) -> HttpResponse:
    found = [
        name
        for name in ("CT abdomen", "CT head", "MR knee")
        if request.POST.get("q", "").lower() in name.lower()
    ]
    return render(request, "gallery/_options.html", {"found": found, "q": request.POST.get("q", "")})


@needs("home.view")
def draft(request: HttpRequest) -> HttpResponse:
    state["drafts"].append(request.POST["findings"])
    return HttpResponse(status=204, headers={"X-Version": str(len(state["drafts"]) + 1)})


@needs("home.view")
def palette(request: HttpRequest) -> HttpResponse:
    return render(
        request, "gallery/_palette_results.html", {"q": request.POST.get("q", ""), "okafor": OKAFOR}
    )


urlpatterns = [
    *(
        path(stub, show, {"name": "components"})
        for stub in ("board", "schedule", "orders", "rooms", "reading", "billing/charges", "interfaces", "admin")
    ),
    path("gallery/live", live),
    path("gallery/sheet", sheet),
    path("gallery/undo", undo),
    path("gallery/options", options),
    path("gallery/draft", draft),
    path("gallery/act/<str:what>", act),
    path("gallery/<str:name>", show),
    path("search/palette", palette),
    path("", include("ris.desk.urls")),
]  # fmt: skip
handler404 = "ris.desk.signin.page_not_found"
