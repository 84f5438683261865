"""Find the secrets in the environment, and mask them in a stage's output.

A variable is a secret because of its name (``…TOKEN``, ``…_PAT``, ``…_PWD``), or its value contains a secret: a login
in an address (``https://user:password@host``), a pair (``AccountKey=…;``), or an entry of a JSON object. A stage's
output is masked line by line, so each line of a secret with several lines is a secret too. Secrets that a program
transforms before it prints them are not recognised, except in HTTP's two forms: percent-encoding and Basic
authorization.
"""

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

SHORTEST = 6  # characters; masking shorter values ("true", "4200") would hide harmless text
LONG_NAME = 20  # characters; a user name of this length is a token: https://ghp_…@github.com
MASK = "***"
SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|SSHPASS|CREDENTIAL|COOKIE|AUTHORIZATION"
    r"|(API|ACCESS|PRIVATE|ACCOUNT)_?KEY|CONNECTION_?(URL|STRING)"
    r"|(^|_)PAT(_|$)|_PWD$|(^|_)(PASS|KEYS?|DSN|AUTH|AUTH_(STRING|CONFIG|HEADER))$",
    re.I,
)
PAIR_NAME = re.compile(r"pwd|pass|key|sig|signature", re.I)  # further names of secrets, only in a pair
ADDRESS_NAME = re.compile(r"(PROXY|URL|URI|ADDRESS)$", re.I)  # the value may be an address without a scheme
LOGIN = re.compile(r"//(?P<user>[^\s/:@?#]*):(?P<password>[^\s/?#]*)@")
# Database drivers also accept a slash in a password. A number before / ? # is a port, not a password.
LOGIN_WITH_SLASH = re.compile(r"//(?P<user>[^\s/:@]*):(?!\d+[/?#])(?P<password>\S*)@")
TOKEN_LOGIN = re.compile(rf"//(?P<user>[^\s/:@?#]{{{LONG_NAME},}})@")
PAIR = re.compile(r"(?:^|[\s;&?])(?P<name>[\w.-]+)=(?P<value>[^\s;&]+)")
SCHEME = re.compile(r"(Bearer|Basic|Token)\s+(?P<value>\S+)$", re.I)
USER_AND_PASSWORD = re.compile(r"(?P<user>[^\s:/]+):(?P<password>\S+)")


def secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets in the values of variables, longest first."""
    found = {text for name, value in environment.items() for text in _secrets_of(name, value) if len(text) >= SHORTEST}
    return sorted(found, key=lambda text: (-len(text), text))


def _secrets_of(name: str, value: str) -> Iterator[str]:
    """Yield the secrets in one variable's value, including short ones."""
    value = value.strip()
    if SECRET_NAME.search(name) and not _is_path(value):
        yield from _forms(value)
    for part in value.split():
        yield from _logins(part)
        if ADDRESS_NAME.search(name) and "//" not in part:
            yield from (text.removeprefix("//") for text in _logins(f"//{part}"))
    if value.startswith(("{", "[")):
        yield from _entries(name, value)
    for pair in PAIR.finditer(value):
        inner = f"{pair['name']}_password" if PAIR_NAME.fullmatch(pair["name"]) else pair["name"]
        yield from _secrets_of(inner, unquote(pair["value"]))


def _forms(secret: str) -> Iterator[str]:
    """Yield a whole secret, its lines, and the parts that a program may print alone."""
    yield secret
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from lines
    if scheme := SCHEME.match(secret):
        yield scheme["value"]
    if login := USER_AND_PASSWORD.fullmatch(secret):
        yield from _login_forms(login["user"], login["password"])


def _logins(address: str) -> Iterator[str]:
    """Yield an address that contains a login, and the secrets of the login; nothing for other addresses."""
    if login := LOGIN.search(address) or LOGIN_WITH_SLASH.search(address):
        if login["password"]:
            yield address
            yield f"{login['user']}:{login['password']}@"
            yield from _login_forms(login["user"], login["password"])
    else:
        login = TOKEN_LOGIN.search(address)
    if login and len(login["user"]) >= LONG_NAME:
        yield from (address, login["user"])


def _login_forms(user: str, password: str) -> Iterator[str]:
    """Yield the forms of a password, and the login as HTTP's Basic authorization encodes it."""
    plain = unquote(password)
    yield from (password, plain, quote(plain, safe=""))
    yield base64.b64encode(f"{unquote(user)}:{plain}".encode()).decode()


def _entries(name: str, text: str) -> Iterator[str]:
    """Yield the secrets in the entries of a JSON object or list."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    waiting = [(name, value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, entry) for entry in value]
        elif isinstance(value, str):
            yield from _secrets_of(key, value)


def _is_path(value: str) -> bool:
    """Return True if a value is the path of an existing file or folder: it may hold a secret, but is none."""
    return value.startswith(("/", "~", ".")) and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111


class Mask:
    """Replaces the secrets of an environment by ``***``.

    Args:
        environment: variables by name.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._secrets = secrets(environment)

    def __call__(self, line: str) -> str:
        """Return a line with its secrets masked."""
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        return line
