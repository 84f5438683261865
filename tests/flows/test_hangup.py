import signal
from collections.abc import Iterator

import pytest

from flows.hangup import interrupt_on_hangup


@pytest.fixture
def hangup() -> Iterator[None]:
    """Restore the handler of SIGHUP after the test."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_a_hangup_interrupts_once() -> None:
    interrupt_on_hangup()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)  # nothing happens


@pytest.mark.usefixtures("hangup")
def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt_on_hangup()
    signal.raise_signal(signal.SIGHUP)  # nothing happens
