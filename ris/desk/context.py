"""What every page of the shell shows: the way to the user's lists, the facility, theme, clock."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from django.conf import settings
from django.core.cache import cache as kept
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from ris.accounts.models import Role, User
from ris.accounts.permissions import allowed
from ris.department.models import Facility
from ris.desk.radar import waiting_for
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.protocolling.worklists import waiting as protocols_waiting
from ris.reporting.worklists import unread
from ris.safety.worklists import waiting_count

#: Path, word, icon, key chord.
RAIL = (
    ("/board", "Board", "door", "g b"),
    ("/schedule", "Schedule", "cal", "g s"),
    ("/radar", "Radar", "bell", "g d"),
    ("/orders", "Orders", "inbox", "g o"),
    ("/protocols", "Protocols", "doc", "g p"),
    ("/rooms", "Exams", "scan", "g e"),
    ("/supplies", "Supplies", "drop", "g u"),
    ("/reading", "Reading", "read", "g r"),
    ("/safety", "Safety", "shield", "g y"),
    ("/billing/charges", "Billing", "coin", "g c"),
    ("/interfaces", "Interfaces", "plug", "g i"),
    ("/admin", "Admin", "gear", "g a"),
)
#: What waits in a list for those who hold a right, for the number beside its icon.
WAITING: dict[str, tuple[str, Callable[[], int]]] = {
    "/orders": ("appointment.book", lambda: Order.objects.filter(status=OrderStatus.REQUESTED).count()),
    "/protocols": ("protocol.decide", protocols_waiting),
    "/reading": ("report.write", lambda: unread().count()),
    "/safety": ("safety.clear", waiting_count),
}
#: The same where it depends on who looks: on their roles.
WAITING_FOR: dict[str, Callable[[User], int]] = {"/radar": waiting_for}
#: Pages that are opened from a list and lie elsewhere.
_BELOW = {"/rooms": "/exams/", "/reading": "/reports/"}
THEMES = ("light", "reading")
DENSITIES = ("default", "compact", "touch")


@dataclass(frozen=True)
class RailItem:
    url: str
    word: str
    icon: str
    key: str
    current: bool

    user: object

    @property
    def count(self) -> int:
        """Kept for some seconds: it is on every page and need not be newer."""
        mine = WAITING_FOR.get(self.url)
        if mine is not None and isinstance(self.user, User):
            name = f"shell.waiting{self.url}.{'.'.join(sorted(self.user.roles))}"
            return int(kept.get_or_set(name, partial(mine, self.user), 15) or 0)
        right, count = WAITING.get(self.url, ("", None))
        if count is None or not allowed(self.user, right):
            return 0
        return int(kept.get_or_set(f"shell.waiting{self.url}", count, 15) or 0)


@cache
def right_of(path: str) -> str | None:
    """The right the page at `path` asks for; None when there is no such page."""
    try:
        return getattr(resolve(path).func, "right", None)
    except Resolver404:
        return None


def rail(request: HttpRequest) -> list[RailItem]:
    """The lists this user may open."""
    return [
        RailItem(path, word, icon, key, _is_in(request.path, path), request.user)
        for path, word, icon, key in RAIL
        if (right := right_of(path)) and allowed(request.user, right)
    ]


def _is_in(page: str, path: str) -> bool:
    """Whether `page` belongs to the list at `path`."""
    if page.startswith("/orders/") and page.endswith("/start"):  # the exam's first step
        return path == "/rooms"
    return page.startswith((path.rsplit("/", 1)[0] or path, _BELOW.get(path, path)))


def theme_of(request: HttpRequest) -> str:
    """The reading theme follows the room, not the machine: readers start in it, a choice is the device's."""
    chosen = request.COOKIES.get("theme")
    if chosen in THEMES:
        return chosen
    reads = {Role.RADIOLOGIST, Role.RESIDENT}
    user = request.user
    return "reading" if isinstance(user, User) and reads & set(user.roles) else "light"


def facility_name() -> str:
    def find() -> str:
        return Facility.objects.order_by("pk").values_list("name", flat=True).first() or "Lightbox"

    return str(kept.get_or_set("shell.facility", find, 60))


def shell(request: HttpRequest) -> dict[str, object]:
    user = getattr(request, "user", None)
    if user is None:  # A refusal before the session was read.
        return {
            "shell": {
                "theme": "light",
                "density": "default",
                "now": timezone.now(),
                "sheet": "sheet_page.html",
            }
        }
    known = isinstance(user, User) or user.is_authenticated
    density = request.COOKIES.get("density")
    return {
        "shell": {
            "theme": theme_of(request),
            "density": density if density in DENSITIES else "default",
            "facility": SimpleLazyObject(facility_name),
            "nav": SimpleLazyObject(lambda: rail(request)),
            "now": timezone.now(),
            "zone": settings.RIS_FACILITY_TZ,
            "idle_minutes": settings.RIS_IDLE_MINUTES if known else 0,
            "user_name": str(user) if known else "",
            "initials": user.short if known else "",
            "roles": ", ".join(Role(role).label for role in user.roles) if known else "",
            "frame": "base.html" if known else "accounts/gate.html",
            "sheet": "_sheet.html" if request.headers.get("HX-Target") == "sheet" else "sheet_page.html",
        }
    }
