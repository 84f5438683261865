"""Prefect flows over the DVC graph: when and where each stage runs, and what happens when one fails.

Prefect reads its settings from the environment when it is first imported. This module therefore sets them before any
module of this package imports Prefect. Values that the user has set are not changed.
"""

import contextlib
import os

from base.console import STATE

DEFAULTS = {
    "PREFECT_HOME": str((STATE / "prefect").absolute()),  # database and logs belong to this workspace, not to the user
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Leases on files survive a restart of the server. Leases in memory would be lost, and their GPU slots never freed.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
for name, value in DEFAULTS.items():
    os.environ.setdefault(name, value)
STATE.mkdir(exist_ok=True)
if os.environ["PREFECT_HOME"] == DEFAULTS["PREFECT_HOME"]:
    (STATE / "prefect").mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(PermissionError):  # the folder is another user's; a server reports that when it starts
        (STATE / "prefect").chmod(0o700)  # earlier versions made it readable for every user
