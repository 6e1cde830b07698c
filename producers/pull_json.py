"""The JSON text of an answer, value by value, in constant memory: each value, and the text it stands in.

Amounts are decimals, so numbers are kept by their digits and never become floats. The values of a text are
told apart by the standard library's decoder over a window of it: ijson's reader in C ends the whole process
on an integer of 5,000 digits (version 3.6).
"""

import codecs
import json
from typing import Any, Final

from producers.errors import FileRefused
from producers.text_lines import BinarySource
from schemas.json_members import NumberText, members
from schemas.outcomes import Code

MAX_VALUE_CHARS: Final = 1024 * 1024
"""Longest single value, such as one payment, in characters."""
_READ_BYTES: Final = 64 * 1024
_SPACE: Final = " \t\n\r"


def _no_number(_name: str) -> None:
    raise ValueError("NaN and infinity are no JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=members, parse_int=NumberText, parse_float=NumberText, parse_constant=_no_number
)


class JsonText:
    """A JSON text in UTF-8, with or without a byte order mark, read from its beginning to its end.

    Every method may raise `FileRefused`, whose words hold nothing of the text.
    """

    def __init__(self, source: BinarySource) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space, left where it is; empty at the end."""
        while True:
            while self._at < len(self._text):
                letter = self._text[self._at]
                if letter not in _SPACE:
                    return letter
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """The next character, which must be one of some.

        Raises:
            FileRefused: it is another one, or the text ends.
        """
        letter = self.peek()
        if not letter or letter not in expected:
            raise self._malformed(f"expected {' or '.join(expected)}")
        self._at += 1
        return letter

    def value(self) -> tuple[Any, str]:
        """The next value and its text. Objects are `Members`, numbers `NumberText`.

        Raises:
            FileRefused: there is none, or it is longer than `MAX_VALUE_CHARS`.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise self._malformed("it is nested too deeply") from None
            except ValueError:
                # Cut off by the window's edge, or no JSON: more text tells.
                end = None
            if end is not None and (end < len(self._text) or self._ended):
                text, self._at = self._text[self._at : end], end
                return value, text
            if len(self._text) - self._at > MAX_VALUE_CHARS:
                detail = f"the answer is no JSON, or holds a value of more than {MAX_VALUE_CHARS} characters"
                raise FileRefused(Code.TOO_LARGE, detail)
            if not self._more() and end is None:
                raise self._malformed("it breaks off, or a value in it cannot be read")

    def _more(self) -> bool:
        """Read on, and forget what was taken; False at the end of the text."""
        if self._ended:
            return False
        data = self._source.read(_READ_BYTES)
        self._ended = not data
        try:
            new = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError:
            raise FileRefused(Code.BAD_ENCODING, "the answer is no text in UTF-8") from None
        self._text = self._text[self._at :] + new
        self._at = 0
        return not self._ended or bool(new)

    @staticmethod
    def _malformed(why: str) -> FileRefused:
        return FileRefused(Code.NOT_JSON, f"the answer is no JSON: {why}")
