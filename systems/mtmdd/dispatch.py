"""Runs the command that a recipe names instead of the shared one."""

import os
import sys
from collections.abc import Sequence

from base.console import UserError


def run_command_of(wanted: str | None, ours: str, shared: str, what: str, argv: Sequence[str]) -> None:
    """Replace this process by the command that a recipe names, unless it is this one.

    The shared command has only the code of the methods that need no other, so that an edit of a comparison method makes
    no other method's training stale.

    Args:
        wanted: the module that the recipe names; None: the shared one.
        ours: this command's module.
        shared: the module of the methods without a command of their own.
        what: the recipe or model, for messages.
        argv: the command's arguments.

    Raises:
        UserError: this is the command of another method.
    """
    wanted = wanted or shared
    if ours == wanted:
        return
    if ours != shared:
        raise UserError(f"{what} belongs to python -m {wanted}, not to python -m {ours}; run {shared}, which knows")
    os.execv(sys.executable, [sys.executable, "-m", wanted, *argv])
