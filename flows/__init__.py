"""Prefect flows over the DVC graph: when and where each stage runs, and what happens when one fails.

Prefect reads its settings when it is first imported, so they are set here, before any module of this package imports
it. What the user has set stands.
"""

import contextlib
import os

from base.console import STATE

DEFAULTS = {
    "PREFECT_HOME": str((STATE / "prefect").absolute()),  # database and logs: state of this machine, not of the user
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Who has a GPU survives a restart of the server; kept in memory, its slot would stay taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
for name, value in DEFAULTS.items():
    os.environ.setdefault(name, value)
STATE.mkdir(exist_ok=True)
if os.environ["PREFECT_HOME"] == DEFAULTS["PREFECT_HOME"]:
    (STATE / "prefect").mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user's: then a server says so
        (STATE / "prefect").chmod(0o700)  # earlier versions let everybody read it
