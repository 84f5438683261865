"""Prefect flows over the DVC graph: when and where each stage runs, and what happens when one fails.

Prefect reads its settings from the environment when it is first imported. This module therefore sets them before any
module of this package imports Prefect. Values that the user has set are not changed.

The server that a flow starts is on this machine, so its clients must not ask a proxy for it, whatever the environment
says. Another server's clients still use the proxy.
"""

import contextlib
import os
import sys

from base.console import STATE
from base.proxies import bypass_for_this_machine, forget_unusable_proxies, is_this_machine
from base.terminal import printable

DEFAULTS = {
    "PREFECT_HOME": str((STATE / "prefect").absolute()),  # database and logs belong to this workspace, not to the user
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Leases on files survive a restart of the server. Leases in memory would be lost, and their GPU slots never freed.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
for name, value in DEFAULTS.items():
    os.environ.setdefault(name, value)
bypass_for_this_machine()
if is_this_machine(os.environ.get("PREFECT_API_URL", "")):
    forget_unusable_proxies()
try:
    STATE.mkdir(exist_ok=True)
except OSError as error:
    sys.stderr.write(f"error: {printable(str(error))}\n")
    raise SystemExit(2) from None
if os.environ["PREFECT_HOME"] == DEFAULTS["PREFECT_HOME"]:
    (STATE / "prefect").mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # the folder is another user's; a server reports that when it starts
        (STATE / "prefect").chmod(0o700)  # earlier versions made it readable for every user
