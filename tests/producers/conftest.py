"""A bucket and a world of its own for every test."""

import secrets
from collections.abc import Iterator

import boto3
import pytest
from botocore.client import Config
from google_double import GoogleDouble
from s3_world import World
from sheet_world import SheetWorld

from sunledger.embedded.stack import Endpoints


@pytest.fixture(scope="session")
def bucket(stack: object) -> str:
    """A bucket in the shared S3 server."""
    s3 = stack.endpoints.s3  # type: ignore[attr-defined]
    name = f"b-{secrets.token_hex(4)}"
    client = boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name="us-east-1",
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def world(endpoints: Endpoints, kafka_prefix: str, bucket: str) -> Iterator[World]:
    """A dataset with a prefix and topics of its own."""
    made = World(endpoints.s3, endpoints.kafka, kafka_prefix, bucket)
    yield made
    made.close()


@pytest.fixture
def google() -> Iterator[GoogleDouble]:
    """A stand-in for Google, with nothing in it."""
    with GoogleDouble() as started:
        yield started


@pytest.fixture
def sheets(
    google: GoogleDouble, endpoints: Endpoints, kafka_prefix: str, bucket: str
) -> Iterator[SheetWorld]:
    """A dataset over a spreadsheet, with topics of its own."""
    made = SheetWorld(google, endpoints.s3, endpoints.kafka, kafka_prefix, bucket)
    yield made
    made.close()
