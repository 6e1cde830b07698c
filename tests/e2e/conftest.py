"""One installation for all tests of whole paths. It ends with them: an idle one costs a fifth of a core."""

from collections.abc import Iterator

import pytest

from tests.e2e.installation import Installation, running
from tests.producers.google_double import GoogleDouble


@pytest.fixture(scope="package")
def google() -> Iterator[GoogleDouble]:
    """A stand-in for Google, which the installation takes for the real one."""
    with GoogleDouble() as started:
        yield started


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory, google: GoogleDouble) -> Iterator[Installation]:
    """API, worker, producers and all backing parts, under the supervisor."""
    folder = tmp_path_factory.mktemp("installation")
    with pytest.MonkeyPatch.context() as patch:
        key = google.key_file(tmp_path_factory.mktemp("google"))
        patch.setenv("SUNLEDGER_GOOGLE_CREDENTIALS_FILE", str(key))
        patch.setenv("SUNLEDGER_SHEETS_URL", google.url)
        with running(folder) as found:
            yield found
