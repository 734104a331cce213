"""The parts of the admin pages, in the order of their tabs."""

from dataclasses import dataclass

from ris.accounts.models import User
from ris.accounts.permissions import allowed


@dataclass(frozen=True)
class Section:
    url: str
    word: str
    right: str
    current: bool = False


_SECTIONS = (
    ("/admin/rooms", "Rooms", "department.view"),
    ("/admin/stations", "Stations", "department.view"),
    ("/admin/modalities", "Modalities", "department.view"),
    ("/admin/catalogue", "Catalogue", "department.view"),
    ("/admin/dose-levels", "Dose levels", "department.view"),
    ("/admin/protocols", "Protocols", "department.view"),
    ("/admin/items", "Items", "department.view"),
    ("/admin/templates", "Report templates", "department.view"),
    ("/admin/questionnaires", "Safety questions", "safety.change"),
    ("/admin/safety-rules", "Safety rules", "safety.change"),
    ("/admin/practitioners", "Practitioners", "department.view"),
    ("/admin/facilities", "Facilities", "department.view"),
    ("/radar/rules", "Deadlines", "department.view"),
    ("/admin/users", "Users", "user.view"),
    ("/admin/partners", "Partners", "message.view"),
    ("/audit", "Audit", "audit.view"),
)


def sections_for(user: User, path: str) -> list[Section]:
    """Those that `user` may open; `path` is where they are."""
    return [
        Section(url, word, right, current=path.startswith(url))
        for url, word, right in _SECTIONS
        if allowed(user, right)
    ]
