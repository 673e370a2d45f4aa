"""Scopes reach downwards, segment by segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.scopes import EVERYWHERE, MAX_LENGTH, Scope, widest

segments = st.text("ab-._~2", min_size=1, max_size=3).filter(lambda s: s not in {".", ".."})
scopes = st.one_of(
    st.just(EVERYWHERE), st.lists(segments, min_size=1, max_size=4).map(lambda parts: Scope("/".join(parts)))
)


@pytest.mark.parametrize("text", ["*", "org/acme", "org/acme/project/42", "A-b_c.d~e", "x" * 64, "..."])
def test_a_well_formed_scope_is_read_as_written(text):
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "org/", "/org", "org//acme", ".", "..", "org/../other", "org/./x", "*/x", "org/*", "org acme",
        "org%2facme", "org/ä", "org\\acme", "x" * 65, "/".join(["abcdefg"] * 40), "org/acme\n", "org\x00", "**",
    ],
)  # fmt: skip
def test_a_malformed_scope_is_refused(text):
    with pytest.raises(Invalid) as refused:
        Scope.parse(text, "/somewhere")
    assert [(f.pointer, f.code) for f in refused.value.fields] == [("/somewhere", "scope_malformed")]


def test_the_longest_scope_is_read_and_one_letter_more_is_not():
    longest = "/".join(["a" * 50] * 5)
    assert len(longest) <= MAX_LENGTH
    longest += "b" * (64 - 50 if MAX_LENGTH - len(longest) > 14 else MAX_LENGTH - len(longest))
    assert len(Scope.parse(longest).path) == MAX_LENGTH
    with pytest.raises(Invalid):
        Scope.parse(longest + "b")


def test_a_sibling_that_begins_alike_is_not_reached():
    assert Scope("org/acme").reaches(Scope("org/acme/project"))
    assert not Scope("org/acme").reaches(Scope("org/acme-2"))
    assert not Scope("org/acme").reaches(Scope("org"))
    assert not Scope("org/acme").reaches(EVERYWHERE)


@given(wide=scopes, narrow=scopes)
def test_reaching_is_having_the_segments_as_a_prefix(wide, narrow):
    prefix = [] if wide == EVERYWHERE else wide.path.split("/")
    below = narrow == EVERYWHERE and wide == EVERYWHERE
    if narrow != EVERYWHERE:
        below = narrow.path.split("/")[: len(prefix)] == prefix
    assert wide.reaches(narrow) == below


@given(scopes, scopes, scopes)
def test_reaching_is_an_order(a, b, c):
    assert a.reaches(a)
    assert EVERYWHERE.reaches(a)
    assert not (a.reaches(b) and b.reaches(c)) or a.reaches(c)
    assert not (a.reaches(b) and b.reaches(a)) or a == b


@given(st.sets(scopes, max_size=6), scopes)
def test_the_widest_scopes_reach_exactly_what_all_of_them_reach(several, place):
    kept = widest(several)
    assert any(s.reaches(place) for s in kept) == any(s.reaches(place) for s in several)
    assert not any(a.reaches(b) for a in kept for b in kept if a != b)
    assert list(kept) == sorted(kept)
