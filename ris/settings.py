"""One settings file for every process; the environment decides (see `ris.environment`)."""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured

from ris.environment import env, env_bool, env_int, env_secret
from ris.supervisor.places import OWNER, Places

BASE_DIR = Path(__file__).resolve().parent.parent

RIS_ENV = env("RIS_ENV", "production", choices=("production", "demo", "test"))
RIS_DATA = Path(env("RIS_DATA", "var")).resolve()
RIS_AE_TITLE = env("RIS_AE_TITLE", "LIGHTBOX")
# PEM files by which HL7 and its partners know each other over TLS (IHE ITI-19); all three, or none.
RIS_TLS_CERTIFICATE = env("RIS_TLS_CERTIFICATE")
RIS_TLS_KEY = env("RIS_TLS_KEY_FILE") or env("RIS_TLS_KEY")
RIS_TLS_CA = env("RIS_TLS_CA")
RIS_UID_ROOT = env("RIS_UID_ROOT", "2.25")
RIS_FACILITY_TZ = env("RIS_FACILITY_TZ", "America/New_York")

# Without DATABASE_URL or REDIS_URL the servers are those that `manage.py up` runs on the data directory.
_embedded = Places(RIS_DATA)
_database_url = env_secret("DATABASE_URL")
_owner_url = (
    env_secret("RIS_MIGRATE_DATABASE_URL", _database_url) if _database_url else _embedded.database_url(OWNER)
)

DEBUG = False
SECRET_KEY = env_secret("RIS_SECRET_KEY") or _embedded.secret_key()
if _database_url and not SECRET_KEY and RIS_ENV == "production":
    raise ImproperlyConfigured(
        "RIS_SECRET_KEY is not set; every process of one production system needs the same long random value."
    )
ALLOWED_HOSTS = env("RIS_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver").split(",")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "pgtrigger",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "csp",
    "ris.core",
    "ris.accounts",
    "ris.audit",
    "ris.events",
    "ris.department",
    "ris.patients",
    "ris.orders",
    "ris.safety",
    "ris.protocolling",
    "scheduling",
    "ris.supplies",
    "ris.exams",
    "ris.reporting",
    "billing",
    "interfaces",
    "ris.desk",
    "ris.supervisor",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "ris.accounts.middleware.SessionLimitsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ris.audit.middleware.RequestSourceMiddleware",
    "ris.accounts.middleware.FormKeyMiddleware",
    "ris.accounts.middleware.ErrorsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "ris.urls"
WSGI_APPLICATION = "ris.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ris.desk.context.shell",
            ],
            "builtins": ["ris.desk.templatetags.ris"],
        },
    }
]


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            "DATABASE_URL must begin with postgresql://; Lightbox runs on PostgreSQL only."
        )
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    host = query.pop("host", "") or (parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or query.pop("user", "")),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or query.pop("port", "")),
        "CONN_MAX_AGE": env_int("RIS_CONN_MAX_AGE", 60),
        "CONN_HEALTH_CHECKS": True,
        # The planner's JIT costs more than it saves on short look-ups (performance.md E).
        "OPTIONS": {"options": "-c jit=off", "connect_timeout": "5", **query},
    }


DATABASES = {"default": _database(_database_url or _embedded.database_url())}
RIS_APPLICATION_ROLE = str(DATABASES["default"]["USER"])
# Who may change tables: `migrate` and `grants` connect as this role, nothing else does.
RIS_OWNER_DATABASE = {
    name: value
    for name, value in _database(_owner_url).items()
    if name in {"USER", "PASSWORD", "HOST", "PORT"}
}
REDIS_URL = env_secret("REDIS_URL") or _embedded.redis_url
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 5 / 60  # hours: a five minute wait
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "ris.desk.signin.locked_out"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
OTP_TOTP_ISSUER = "Lightbox"

# Seeded users have no second factor; only a demo on loopback lets them in without one (contract.md, Seeds).
RIS_MFA_REQUIRED = RIS_ENV == "production" or (RIS_ENV == "demo" and not env_bool("RIS_HTTP_LOOPBACK"))
RIS_IDLE_MINUTES = env_int("RIS_IDLE_MINUTES", 15)
RIS_SESSION_HOURS = env_int("RIS_SESSION_HOURS", 12)

CSRF_FAILURE_VIEW = "ris.desk.signin.csrf_refused"
# What is said after an act names patients: not into a cookie.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
RIS_TLS = env_bool("RIS_TLS", RIS_ENV == "production" and not env_bool("RIS_HTTP_LOOPBACK"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = RIS_TLS
SECURE_SSL_REDIRECT = False
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if RIS_TLS else None
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
CSRF_TRUSTED_ORIGINS = [origin for origin in env("RIS_TRUSTED_ORIGINS").split(",") if origin]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "ris.accounts.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["ris.accounts.doors.HasRight"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ris.api.problem",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lightbox RIS",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that hangs must not hang those who only wish to wake a worker.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    # Without a number a broker that is not there is tried for six seconds before a wake-up is given up.
    "max_retries": 1,
    "interval_start": 0,
}
CELERY_TIMEZONE = "UTC"
# What messages leave behind: the bytes go by months, then the rows.
RIS_KEEP_BYTES_DAYS = env_int("RIS_KEEP_BYTES_DAYS", 90)
RIS_KEEP_MESSAGES_YEARS = env_int("RIS_KEEP_MESSAGES_YEARS", 6)
RIS_RETENTION_HOUR = env_int("RIS_RETENTION_HOUR", 7)  # UTC; when nobody minds a lock of a moment
# The safety net under the wake-ups on commit. An entry that waited longer than its period is worth nothing.
CELERY_BEAT_SCHEDULE = {
    "relay": {"task": "ris.events.tasks.relay", "schedule": 2.0, "options": {"expires": 2}},
    "sweep": {"task": "interfaces.tasks.sweep", "schedule": 2.0, "options": {"expires": 2}},
    "ask-archive": {"task": "interfaces.tasks.ask_archive", "schedule": 30.0, "options": {"expires": 30}},
    "watch": {"task": "interfaces.tasks.watch", "schedule": 15.0, "options": {"expires": 15}},
    "seal": {"task": "ris.audit.tasks.seal", "schedule": 60.0, "options": {"expires": 60}},
    "evidence": {"task": "ris.exams.tasks.end_by_evidence", "schedule": 60.0, "options": {"expires": 60}},
    "retention": {
        "task": "interfaces.tasks.retain",
        "schedule": crontab(hour=str(RIS_RETENTION_HOUR), minute="20"),
    },
}

# Who is mailed of alarms, and when not (22-6, in the facility's zone).
RIS_ALARM_MAIL = [address.strip() for address in env("RIS_ALARM_MAIL").split(",") if address.strip()]
RIS_QUIET_HOURS = env("RIS_QUIET_HOURS")
EMAIL_HOST = env("RIS_MAIL_HOST", "localhost")
EMAIL_PORT = env_int("RIS_MAIL_PORT", 25)
EMAIL_HOST_USER = env("RIS_MAIL_USER")
EMAIL_HOST_PASSWORD = env_secret("RIS_MAIL_PASSWORD")
EMAIL_USE_TLS = env_bool("RIS_MAIL_TLS")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("RIS_MAIL_FROM", "lightbox@localhost")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env("RIS_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "axes": {"level": "WARNING"},
        "celery": {"level": "WARNING"},  # not a line for each of its beats
        "pynetdicom": {"level": "ERROR"},  # nor for each association
    },
}
SILENCED_SYSTEM_CHECKS = ["axes.W003"]
