"""Fixed people: Clara the clerk, Theo the technologist, Rita the radiologist, Rene the resident, Ben the biller,
Mona the manager, Ada the administrator, Rafe the referrer, and the systems."""

from functools import cache

from django.contrib.auth.hashers import make_password

from ris.accounts.models import Role, User

_PEOPLE = {
    "clara": ("Clara", "Clerk", [Role.FRONTDESK]),
    "theo": ("Theo", "Technologist", [Role.TECHNOLOGIST]),
    "rita": ("Rita", "Radiologist", [Role.RADIOLOGIST]),
    "rene": ("Rene", "Resident", [Role.RESIDENT]),
    "ben": ("Ben", "Biller", [Role.BILLER]),
    "mona": ("Mona", "Manager", [Role.MANAGER]),
    "ada": ("Ada", "Administrator", [Role.ADMINISTRATOR]),
    "rafe": ("Rafe", "Referrer", [Role.REFERRER]),
    "epic": ("", "EPIC", [Role.SYSTEM]),
}

PASSWORD = "a long enough password"  # of the invented people above


@cache
def _hashed() -> str:
    """Once a run: a hash is slow on purpose."""
    return make_password(PASSWORD)


def person(name: str) -> User:
    user = User.objects.filter(username=name).first()
    if user is None:
        first, last, roles = _PEOPLE[name]
        user = User.objects.create(
            username=name, password=_hashed(), first_name=first, last_name=last, roles=roles
        )
    return user


NAMES = list(_PEOPLE)
