#!/usr/bin/env python
"""Run Lightbox's commands."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ris.settings")
    if sys.argv[1:2] == ["up"]:
        from ris.supervisor import up

        return up.main(sys.argv[2:])

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    from ris.supervisor.errors import CannotStart

    try:
        execute_from_command_line(sys.argv)
    except (CannotStart, ImproperlyConfigured) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OperationalError as problem:
        reason = str(problem).strip().splitlines()[0]
        print(
            f"The database does not answer: {reason}. Start it with `manage.py up` (RIS_DATA names its "
            "data directory), or name a running one in DATABASE_URL.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
