"""Header names that are not UTF-8 cost nobody anything."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from streams.transport import spans


def _raw() -> bytes:
    """Two batches; the second record of the first one has a header name of wrong bytes."""
    raw = b""
    for base in (0, 3):
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 16)
        for number in range(3):
            name = "WRONG" if (base, number) == (0, 1) else "fine"
            builder.append(number, 1, None, b"%d" % (base + number), [(name, b"x")])
        built = bytearray(builder.build())
        built[:8] = base.to_bytes(8, "big")
        raw += bytes(built)
    return raw.replace(b"WRONG", b"\xff\xfe\xfd\xfc\xfb")


def test_a_batch_with_a_foreign_header_name_is_read_whole() -> None:
    """Each record once and in order, the strange name readable; the batch behind it too."""
    spans.note_control_batches()
    records = spans.aiokafka_fetcher.MemoryRecords(_raw())
    reader = spans.aiokafka_fetcher.PartitionRecords(
        TopicPartition("t", 0), records, [], 0, None, None, False, "read_uncommitted"
    )
    found = list(reader)
    assert [(record.offset, record.value) for record in found] == [(n, b"%d" % n) for n in range(6)]
    assert found[1].headers == [("\\xff\\xfe\\xfd\\xfc\\xfb", b"x")]
    assert reader.next_fetch_offset == 6
