"""The body of an upload, multipart/form-data (RFC 7578), taken apart while it comes.

Fields and file may come in any order. The file goes on at once; nothing but the fields is held in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import FieldProblem, Invalid, MalformedBody
from api.uploads.errors import Incomplete, NotMultipart

FILE: Final = "file"
LISTS: Final = frozenset({"project_ids"})
"""Fields that may come several times."""
MAX_FIELDS_BYTES: Final = 128 * 1024
"""All fields together."""
MAX_PARTS: Final = 1100
_PACKED: Final = frozenset({"base64", "quoted-printable"})


class Sink(Protocol):
    """Where the bytes of the file go."""

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        ...


@dataclass(slots=True)
class _Part:
    """The part that is being read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    value: bytearray = field(default_factory=bytearray)


class Form:
    """Reads one body, fed in pieces; errors are raised by the piece in which they are found.

    Args:
        content_type: of the request.
        open_file: called once, with the file's name, when the part `file` begins.

    Attributes:
        fields: name → values, in the order in which they came.
        has_file: whether the part `file` was there.

    Raises:
        NotMultipart: another content type, or no boundary in it.
    """

    def __init__(self, content_type: str, open_file: Callable[[str], Sink]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise NotMultipart
        self.fields: dict[str, list[str]] = {}
        self.has_file = False
        self._open_file = open_file
        self._sink: Sink | None = None
        self._part = _Part()
        self._header = (bytearray(), bytearray())
        self._parts = self._bytes = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._header_ended,
                    "on_headers_finished": self._named,
                    "on_part_data": self._data,
                    "on_part_end": self._finish_part,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise NotMultipart from None

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            MalformedBody: it is no such form.
            Invalid: a part is not one of an upload.
            NoRoom: the disk takes no more of the file.
        """
        try:
            self._parser.write(data)
        except FormParserError:
            raise MalformedBody("The body is not multipart/form-data with the boundary it names.") from None

    def check_ended(self) -> None:
        """Refuse a body that has no last boundary.

        Raises:
            Incomplete: it has none.
        """
        if not self._ended:
            raise Incomplete

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Invalid.field("body", "too_many_parts", f"At most {MAX_PARTS} parts are read.")
        self._part, self._sink = _Part(), None

    def _header_ended(self) -> None:
        name, value = map(bytes, self._header)
        self._part.headers[name.lower()] = value
        self._header = (bytearray(), bytearray())

    def _named(self) -> None:
        """The headers of a part are known: a field, or the file."""
        part = self._part
        if part.headers.get(b"content-transfer-encoding", b"").strip().lower().decode("latin-1") in _PACKED:
            raise Invalid.field("body", "packed_part", "Send parts as they are, in no transfer encoding.")
        kind, options = parse_options_header(part.headers.get(b"content-disposition"))
        if kind != b"form-data" or not options.get(b"name"):
            raise Invalid.field("body", "nameless_part", "Each part needs a name in Content-Disposition.")
        part.name = _text(options[b"name"], "body")
        if part.name == FILE:
            self._file(options.get(b"filename"))
        elif part.name in self.fields and part.name not in LISTS:
            raise Invalid(errors=[_twice(part.name)])

    def _file(self, name: bytes | None) -> None:
        if self.has_file:
            raise Invalid(errors=[_twice(FILE)])
        self.has_file = True
        if not name:  # also what a browser sends when no file was chosen
            raise Invalid.field(FILE, "no_file_name", "Expected a file with its name in `filename`.")
        self._sink = self._open_file(_text(name, FILE))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is not None:
            self._sink.write(data[start:end])
            return
        self._bytes += end - start
        if self._bytes > MAX_FIELDS_BYTES:
            text = f"All fields but the file have at most {MAX_FIELDS_BYTES} bytes together."
            raise Invalid.field("body", "too_long", text)
        self._part.value += data[start:end]

    def _finish_part(self) -> None:
        if self._sink is None:
            name = self._part.name
            self.fields.setdefault(name, []).append(_text(bytes(self._part.value), name))

    def _end(self) -> None:
        self._ended = True


def _twice(name: str) -> FieldProblem:
    known = name if name.isidentifier() and name.isascii() and len(name) <= 40 else "(unreadable name)"
    return FieldProblem(field=known, code="twice", detail="Expected this part once.")


def _text(data: bytes, name: str) -> str:
    """Text of a name or a field.

    Raises:
        Invalid: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        where = name if name.isidentifier() and name.isascii() and len(name) <= 40 else "(unreadable name)"
        raise Invalid.field(where, "not_text", "Expected text in UTF-8.") from None
