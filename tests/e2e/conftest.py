"""One installation for all tests of whole paths."""

from collections.abc import Iterator

import pytest

from tests.e2e.installation import Installation, running


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """API, worker, producers and all backing parts, under the supervisor."""
    with running(tmp_path_factory.mktemp("installation")) as found:
        yield found
