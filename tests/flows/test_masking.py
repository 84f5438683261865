import base64
from pathlib import Path

import pytest

from flows.masking import Mask, secrets

PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEF\nab==\n-----END KEY-----\n"


def basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "token", "AWS_SECRET_ACCESS_KEY", "DATABASE_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "DB_PASS",
        "SSH_PASSPHRASE", "SSHPASS", "GITHUB_PAT", "PAT", "PAT_OF_BOT", "STRIPE_KEY", "SIGNING_KEYS", "OPENAI_API_KEY",
        "apiKey", "SENTRY_DSN", "REDISCLI_AUTH", "GOOGLE_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING",
        "PREFECT_API_DATABASE_CONNECTION_URL", "SESSION_COOKIE",
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert secrets({name: "abc-123-x"}) == ["abc-123-x"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/opt/token:/usr/bin"),
        ("PWD", "/srv/gone/away"),
        ("OLDPWD", "/srv/gone/away"),
        ("HOME", "/srv/somebody"),
        ("HF_TOKEN", "none"),  # too short to be a secret
        ("TOKENIZERS_PARALLELISM", "false"),
        ("XAUTHORITY", "/srv/somebody/.Xauthority"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-gone/agent.1"),
        ("MONKEY", "business"),
        ("COMPAT", "everything"),
        ("SECRET_FILE", str(Path(__file__))),  # the path of a file that holds the secret
        ("DATABASE_URL", "postgresql://host:5432/clicks"),
        ("DATABASE_URL", "sqlite+aiosqlite:////srv/prefect.db"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("HTTPS_PROXY", "proxy:3128"),
        ("HOMEPAGE", "https://host:8080/a@b"),
        ("HOMEPAGE", "https://host:8080?mail=me@home"),
        ("REPOSITORY", "ssh://git@example.com/clicks.git"),
        ("REPOSITORY", "git@example.com:group/clicks.git"),
        ("IMAGE", "python:3.11-slim@sha256:0123456789abcdef"),
        ("LS_COLORS", "di=01;34:ln=01;36:*.key=00;31"),
        ("OPTIONS", "{not json"),
    ],
)
def test_harmless_values_stay(name: str, value: str) -> None:
    assert secrets({name: value}) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "DATABASE_URL",
            "postgresql://me:hush-0815@host/clicks",
            {"postgresql://me:hush-0815@host/clicks", "me:hush-0815@", "hush-0815", basic("me:hush-0815")},
        ),
        (
            "ANY_NAME",
            "https://example.com http://me:a%40b%2Fcd@proxy:3128/",
            {
                "http://me:a%40b%2Fcd@proxy:3128/", "me:a%40b%2Fcd@", "a%40b%2Fcd", "a@b/cd", basic("me:a@b/cd"),
            },
        ),
        (
            "CLICKS_DB",
            "postgresql://me:hush/0815@host/clicks",
            {
                "postgresql://me:hush/0815@host/clicks", "me:hush/0815@", "hush/0815", "hush%2F0815",
                basic("me:hush/0815"),
            },
        ),
        ("HTTPS_PROXY", "me:pw@proxy:3128", {"me:pw@proxy:3128", "me:pw@", basic("me:pw")}),
        (
            "CACHE",
            "redis://:hush-0815@cache",
            {"redis://:hush-0815@cache", ":hush-0815@", "hush-0815", basic(":hush-0815")},
        ),
        (
            "CLONE_FROM",
            "https://ghp_0123456789abcdefghij@example.com/x.git",
            {"https://ghp_0123456789abcdefghij@example.com/x.git", "ghp_0123456789abcdefghij"},
        ),
        ("LISTEN", "wss://host/in?user=me&token=abcdefgh", {"abcdefgh"}),
        ("STORE", "AccountName=clicks;AccountKey=0123456789==;Suffix=net", {"0123456789=="}),
        ("LIBPQ", "host=db user=me password=hush-0815", {"hush-0815"}),
        ("ODBC", "Server=db;Uid=me;Pwd=hush-0815", {"hush-0815"}),
        ("HEADERS", '{"Authorization": "Bearer abcdefgh", "x": [{"api_key": "01234567"}]}',
            {"Bearer abcdefgh", "abcdefgh", "01234567"}),
        (
            "SIGNING_KEY",
            PEM,
            {PEM.strip(), "-----BEGIN KEY-----", "MIIEvQIBADANBgkq", "hkiG9w0BAQEF", "-----END KEY-----"},
        ),
        (
            "PREFECT_SERVER_API_AUTH_STRING",
            "clicksight:hush-0815",
            {"clicksight:hush-0815", "hush-0815", basic("clicksight:hush-0815")},
        ),
    ],
)  # fmt: skip
def test_what_a_value_holds_is_secret_however_it_is_printed(name: str, value: str, expected: set[str]) -> None:
    found = secrets({name: value})
    assert set(found) == expected
    assert found == sorted(found, key=lambda text: (-len(text), text))  # the whole secret is masked before its parts


def test_a_mask_leaves_the_rest_of_a_line() -> None:
    mask = Mask({"DATABASE_URL": "postgresql://me:hush-0815@host/clicks", "SHORT_TOKEN": "true"})
    assert mask("to postgresql://me:hush-0815@host/clicks as me, hush-0815: true") == "to *** as me, ***: true"
    assert mask("postgresql://me:hush-0815@host:5433/other") == "postgresql://***host:5433/other"
