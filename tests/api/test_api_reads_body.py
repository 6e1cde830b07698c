"""The body of a device's reads, as it becomes records."""

from datetime import UTC, datetime

import pytest

from api.errors import Invalid
from api.reads import service
from api.reads.repository import KnownDevice

DEVICE = KnownDevice("dev_1", "org_1", "meter-1", archived=False)
READ = '{"starttimestamp":"2026-01-01T00:00:00Z","endtimestamp":"2026-01-01T01:00:00Z","value":5}'
TWICE = READ.replace('"value":5', '"value":5,"value":7')


def test_a_member_that_stands_twice_refuses_its_read_alone() -> None:
    """Which of two values the meter showed nobody knows; both are recorded, and the other reads go."""
    body = f'{{"type":"Delta","unit":"Wh","reads":[{READ},{TWICE},{READ}]}}'.encode()
    request = service.parse(body, 10)
    made = service.prepare(request, DEVICE, "reads", "rcp_1", datetime(2026, 1, 2, tzinfo=UTC))
    assert [(fault.index, fault.code) for fault in made.rejected] == [(1, "repeated_member")]
    assert [dict(record.headers).get("unreadable") for record in made.records] == [
        None,
        b"repeated_member",
        None,
    ]
    assert made.records[1].value == TWICE.encode()


def test_a_member_of_the_request_that_stands_twice_refuses_it() -> None:
    """One of two lists of reads would be lost, and one of two units believed."""
    for member in ('"unit":"kWh"', f'"reads":[{READ}]'):
        with pytest.raises(Invalid) as told:
            service.parse(f'{{{member},"type":"Delta","unit":"Wh","reads":[{READ}]}}'.encode(), 10)
        assert told.value.errors[0].code == "repeated_member"
