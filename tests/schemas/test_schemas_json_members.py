"""Members that stand twice: found in every text that has one, and in no other."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json_members import (
    NumberText,
    all_members,
    may_repeat,
    members,
    repeated_in,
    repeated_member,
    sentence,
)

_NAMES = st.sampled_from(["ID", "a", 'q":', "\\", "x :", " : ", "é"])
_TEXTS = st.text('":\\ \t\n:aé,{}', max_size=6)


@st.composite
def _texts(draw: st.DrawFn, depth: int = 2) -> str:
    """JSON text of an object, members repeated or not, with white space anywhere."""
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        name = json.dumps(draw(_NAMES), ensure_ascii=draw(st.booleans()))
        value = draw(_texts(depth - 1)) if depth and draw(st.booleans()) else json.dumps(draw(_TEXTS))
        value = f"[{value}]" if draw(st.booleans()) else value
        space = draw(st.sampled_from(["", " ", "\t", "\n "]))
        parts.append(f"{name}{space}:{space}{value}")
    return "{" + ",".join(parts) + "}"


def _told(text: str) -> str | None:
    """The standard library's answer."""
    return repeated_member(json.loads(text, object_pairs_hook=members))


@given(st.lists(_texts(), max_size=4))
def test_a_repeated_member_is_found_wherever_it_stands(texts: list[str]) -> None:
    """In the object and inside it, whatever its texts and white space look like, and nowhere else."""
    data = [text.encode() for text in texts]
    values = [orjson.loads(text) for text in data]
    found = repeated_in(data, values)
    assert found.keys() == {at for at, text in enumerate(texts) if _told(text) is not None}
    for text, value in zip(data, values, strict=True):
        assert may_repeat(text, value) or _told(text.decode()) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"ID":1,"ID":2}', "ID"),
        ('{"ID":1,"\\u0049D":2}', "ID"),
        ('{"custom":{"a":1,"a":1}}', "a"),
        ('{"ID" : 1, "x": "y\\" : z", "ID" :2}', "ID"),
        ('{"ID":"a\\":b"}', None),
        ('{"ID":1,"NOTES":"paid : cash \\": yes"}', None),
        ('{"ID":1,"custom":{"ID":1}}', None),
        ('{"n":' + "9" * 300 + ',"n":1}', "n"),
    ],
)
def test_the_name_is_told(text: str, name: str | None) -> None:
    """Members of one name at two places are no fault, nor is a text that looks like a member."""
    assert repeated_in([text.encode()], [orjson.loads(text)]) == ({} if name is None else {0: name})


def test_a_text_keeps_both_members() -> None:
    """What is kept for correction has everything that was sent."""
    text = '{"a":[{"b":' + "9" * 5000 + ',"b":"é"}],"c":null}'
    assert all_members(json.loads(text, object_pairs_hook=members, parse_int=NumberText)) == text


def test_names_that_senders_made_are_not_repeated() -> None:
    """They may be persons."""
    assert "`ID`" in sentence("ID")
    assert "Jane" not in sentence("Jane Doe")


def test_a_great_object_is_looked_at_once() -> None:
    """A sender of a hundred thousand members does not hold a worker up."""
    pairs: list[tuple[str, Any]] = [(str(n), n) for n in range(100_000)]
    text = "{" + ",".join(f'"{name}":{value}' for name, value in [*pairs, pairs[-1]]) + "}"
    assert repeated_in([text.encode()], [orjson.loads(text)]) == {0: "99999"}
