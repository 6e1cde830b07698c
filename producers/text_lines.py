"""Bytes of a file into physical lines of text, in constant memory.

UTF-8 with or without BOM, UTF-16 with BOM. Bytes that are no text do not end the reading: they become
lone surrogates (PEP 383), by which the row they stand in is known to be unreadable.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final, Protocol

from producers.errors import FileRefused
from schemas.cells import control_characters
from schemas.outcomes import Code

CHUNK_BYTES: Final = 256 * 1024
"""How much is read at a time."""
MAX_LINE_CHARS: Final = 128 * 1024
"""Longest physical line, in characters; of a longer one only the beginning is kept."""
_UTF16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
ZIP_MAGIC: Final = b"PK\x03\x04"
_QUOTED: Final = re.compile(r'"[^"]*"').sub
_FIRST_LINE: Final = re.compile(r"\S[^\r\n]*(\r\n|\r|\n)").search
_BROKEN: Final = "\udcff"
_DECIDING_BYTES: Final = 64 * 1024
"""How much of a file says what its encoding and its line ends are, however slowly it arrives."""


class BinarySource(Protocol):
    """Anything bytes can be read from: a file, an S3 body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        ...


def text_lines(source: BinarySource, max_chars: int = MAX_LINE_CHARS) -> Iterator[list[str]]:
    """The physical lines of a source, line ends included, in lists of those that end in one read.

    A line longer than `max_chars` is cut to one character more, so that it is still seen to be too long.

    Raises:
        FileRefused: 0 bytes, or plainly not a text file.
    """
    end = ""
    tail = ""
    for text in _texts(source):
        end = end or _line_end(text)
        first, *rest = text.split(end)
        if not rest:
            tail = (tail + text)[: max_chars + 1]
            continue
        tail, last = rest.pop(), tail + first
        lines = [last + end, *[line + end for line in rest]]
        if len(text) + len(last) > max_chars:
            lines = [line if len(line) <= max_chars else line[: max_chars + 1] for line in lines]
        yield lines
    if tail:
        yield [tail[: max_chars + 1]]


def _line_end(text: str) -> str:
    """How the lines end of a file that begins with this text: with a carriage return alone, or a line feed.

    It is what ends the first line that is not empty. What stands in quotes does not count: a note may have
    the other one.
    """
    if "\r" not in text:
        return "\n"
    first = _FIRST_LINE(_QUOTED("x", text))
    return "\r" if first is not None and first[1] == "\r" else "\n"


def _texts(source: BinarySource) -> Iterator[str]:
    """The source decoded, chunk by chunk.

    Raises:
        FileRefused: 0 bytes, or plainly not a text file.
    """
    chunk = b""
    while len(chunk) < _DECIDING_BYTES and (part := source.read(CHUNK_BYTES - len(chunk))):
        chunk += part
    decoder, start = _decoder(chunk)
    yield decoder.decode(chunk[start:])
    while chunk := source.read(CHUNK_BYTES):
        yield decoder.decode(chunk)
    try:
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # Half a UTF-16 character at the very end.
        yield _BROKEN


def _decoder(first: bytes) -> tuple[codecs.IncrementalDecoder, int]:
    """The decoder for a file that begins with these bytes, and the length of its BOM."""
    if not first or first in (codecs.BOM_UTF8, *_UTF16):
        raise FileRefused(Code.EMPTY_FILE, "the file is empty: not even a header")
    if first.startswith(codecs.BOM_UTF8):
        return codecs.getincrementaldecoder("utf-8")("surrogateescape"), len(codecs.BOM_UTF8)
    for bom, name in _UTF16.items():
        if first.startswith(bom):
            return codecs.getincrementaldecoder(name)("surrogatepass"), len(bom)
    if first.startswith(ZIP_MAGIC) or b"\0" in first[:64]:
        raise FileRefused(
            Code.BAD_ENCODING, "not a CSV file in UTF-8, or UTF-16 with a byte order mark: save it as CSV"
        )
    return codecs.getincrementaldecoder("utf-8")("surrogateescape"), 0


def is_plain(text: str, delimiter: str) -> bool:
    """Whether the records of some whole lines have no text that has to be escaped in JSON."""
    if '"' in text or "\\" in text or ("\r" in text and text.count("\r") != text.count("\r\n")):
        return False
    return not control_characters(text).strip(b"\r\n\t" if delimiter == "\t" else b"\r\n")


def is_text(text: str) -> bool:
    """Whether all bytes of some lines were text."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
