"""The small tag log, written once for a module's tests."""

import pytest
from tagging_data import write_data

from systems.tagging.posts import Sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return write_data(tmp_path_factory.mktemp("tagging"))
