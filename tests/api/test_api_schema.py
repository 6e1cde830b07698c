"""The OpenAPI document, and the API held to it with generated requests."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
import schemathesis
import uvicorn
from api_helpers import EMAIL, PASSWORD
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.parts import ApiParts

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def served(whole: ApiParts) -> Iterator[str]:
    """The application behind a real server; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(whole), log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


def test_the_document_names_an_error_model_per_status(served: str) -> None:
    """Every operation documents its errors as problem+json, and FastAPI's own models are gone."""
    document = httpx.get(f"{served}/openapi.json", timeout=60).json()
    assert {"Problem", "FieldProblem"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in str(document)
    named = {ref.rpartition("/")[2] for ref in re.findall(r"#/[\w$/]*", str(document))}
    assert named <= set(document["components"]["schemas"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            failures = {
                int(code): answer for code, answer in operation["responses"].items() if int(code) >= 400
            }
            assert {400, 413, 415, 422, 500} <= set(failures), path
            for code, answer in failures.items():
                if (path, code) != ("/readyz", 503):
                    assert set(answer["content"]) == {"application/problem+json"}, (path, code)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests_find_no_hole(served: str, mode: GenerationMode) -> None:
    """Valid and invalid requests to every operation are answered as documented, never with a 500."""
    token = httpx.post(f"{served}/v1/auth/login", json={"email": EMAIL, "password": PASSWORD}).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    schema = schemathesis.openapi.from_url(f"{served}/openapi.json")
    limits = settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @limits
        @given(case=operation.as_strategy(generation_mode=mode))
        def attempt(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing of this operation can be made invalid
            attempt()
            count += 1
    assert count > 25
