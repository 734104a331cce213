"""The web application for any WSGI server; `manage.py run_web` serves it with gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ris.settings")
application = get_wsgi_application()
