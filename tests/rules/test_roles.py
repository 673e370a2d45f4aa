"""Permissions cover, roles inherit, grants begin and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, SECOND, a_grant, a_role, new_id, permissions, rules_of
from domain.errors import Conflict, Invalid
from domain.roles import (
    ADMIN,
    BUILT_IN_ROLES,
    MAX_DEPTH,
    OWN_PERMISSIONS,
    Permission,
    Rules,
    check_administrator_remains,
    check_parents,
    check_times,
    global_roles,
    parse_role_name,
)
from domain.scopes import Scope
from domain.users import UserId

words = st.sampled_from(["*", "users", "docs", "read", "write"])
some_permissions = st.builds(Permission, words, words)
names = st.sampled_from("abcdef")
graphs = st.dictionaries(
    names, st.tuples(st.frozensets(some_permissions, max_size=2), st.frozensets(names, max_size=3))
)


def as_rules(graph):
    return Rules({name: a_role(name, permissions=held, parents=parents) for name, (held, parents) in graph.items()})


@pytest.mark.parametrize("text", ["users:read", "users:*", "*:read", "*:*", "a.b-c_d:x", "0:1", "x" * 64 + ":y"])
def test_a_permission_is_read_as_written(text):
    assert str(Permission.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "users",
        "users:",
        ":read",
        "Users:read",
        "a:b:c",
        "us*:read",
        "**:x",
        "a b:c",
        ".a:b",
        "a:b\n",
        "x" * 65 + ":y",
    ],
)
def test_a_malformed_permission_is_refused(text):
    with pytest.raises(Invalid) as refused:
        Permission.parse(text)
    assert refused.value.fields[0].code == "permission_malformed"


@given(st.text(max_size=20))
def test_a_permission_that_parses_has_one_spelling(text):
    try:
        assert str(Permission.parse(text)) == text
    except Invalid:
        return


def test_a_wildcard_is_covered_only_by_a_wildcard():
    assert Permission.parse("users:*").covers(Permission.parse("users:read"))
    assert Permission.parse("*:*").covers(Permission.parse("users:*"))
    assert not Permission.parse("users:read").covers(Permission.parse("users:*"))
    assert not Permission.parse("*:read").covers(Permission.parse("users:*"))
    assert not Permission.parse("users:*").covers(Permission.parse("*:read"))


@given(some_permissions, some_permissions, some_permissions)
def test_covering_is_an_order(a, b, c):
    assert a.covers(a)
    assert Permission("*", "*").covers(a)
    assert not (a.covers(b) and b.covers(c)) or a.covers(c)
    assert not (a.covers(b) and b.covers(a)) or a == b


@given(some_permissions, some_permissions)
def test_covering_means_holding_every_concrete_permission_of_the_other(a, b):
    """An oracle: wildcards stand for all words, one of which nobody has listed."""

    def meant(p):
        every = {"users", "docs", "read", "write", "unheard-of"}
        return {(r, x) for r in (every if p.resource == "*" else {p.resource})
                for x in (every if p.action == "*" else {p.action})}  # fmt: skip

    assert a.covers(b) == (meant(a) >= meant(b))


def test_a_role_has_the_permissions_of_its_ancestors_with_the_path_to_each():
    rules = rules_of(
        a_role("reader", "docs:read"),
        a_role("writer", "docs:write", parents=["reader"]),
        a_role("chief", "docs:publish", parents=["writer"]),
    )
    paths = {str(held.permission): held.path for held in rules.expand("chief")}
    assert paths == {
        "docs:publish": ("chief",),
        "docs:write": ("chief", "writer"),
        "docs:read": ("chief", "writer", "reader"),
    }


def test_a_diamond_is_walked_once():
    rules = rules_of(
        a_role("base", "docs:read"),
        a_role("left", parents=["base"]),
        a_role("right", parents=["base"]),
        a_role("top", parents=["left", "right"]),
    )
    assert [held.path for held in rules.expand("top")] == [("top", "left", "base")]


def test_a_wide_and_deep_lattice_of_roles_is_expanded_at_once():
    layers = [
        a_role(f"l{n}.{side}", f"docs:a{n}", parents=[] if n == 0 else [f"l{n - 1}.a", f"l{n - 1}.b"])
        for n in range(30)
        for side in "ab"
    ]
    assert len(rules_of(*layers).expand("l29.a")) == 59


@given(graphs)
def test_expanding_any_graph_ends_and_holds_exactly_what_is_reachable(graph):
    rules = as_rules(graph)
    for name in [*graph, "nobody"]:
        reachable, frontier = set(), [name]
        while frontier:
            if (role := frontier.pop()) in graph and role not in reachable:
                reachable.add(role)
                frontier.extend(graph[role][1])
        assert rules.permissions_of(name) == {p for role in reachable for p in graph[role][0]}
        for held in rules.expand(name):
            assert held.path[0] == name
            assert held.permission in graph[held.path[-1]][0]
            assert all(parent in graph[child][1] for child, parent in zip(held.path, held.path[1:], strict=False))


@given(graphs, names, st.frozensets(names, max_size=3))
def test_roles_defined_one_by_one_never_form_a_cycle(graph, name, parents):
    rules = Rules({})
    for role in [*as_rules(graph).roles.values(), a_role(name, parents=parents)]:
        try:
            check_parents(role, rules)
        except (Conflict, Invalid):
            continue
        rules = rules.with_role(role)
    order = []
    while len(order) < len(rules.roles):
        ready = [r for r in rules.roles.values() if r.name not in order and r.parents <= set(order)]
        assert ready, "a cycle"
        order.extend(r.name for r in ready)


def test_a_cycle_is_refused():
    rules = rules_of(a_role("a", parents=["b"]), a_role("b"))
    with pytest.raises(Conflict) as refused:
        check_parents(a_role("b", parents=["a"]), rules)
    assert refused.value.reason_code == "role_cycle"
    with pytest.raises(Conflict):
        check_parents(a_role("c", parents=["c"]), rules)


def test_unknown_parents_are_refused_by_name():
    with pytest.raises(Invalid) as refused:
        check_parents(a_role("a", parents=["ghost", "user"]), rules_of())
    assert refused.value.fields[0].code == "role_unknown"
    assert "ghost" in refused.value.message


def test_a_chain_of_parents_has_an_end():
    """Also where no role of it holds a permission, and where the new parent is pushed in below."""
    chain = [a_role(f"r{n:02}", parents=[f"r{n - 1:02}"] if n else []) for n in range(MAX_DEPTH + 1)]
    rules = rules_of(*chain, a_role("base"))
    check_parents(chain[-1], rules)
    for one_more in (a_role("top", parents=[chain[-1].name]), a_role(chain[0].name, parents=["base"])):
        with pytest.raises(Conflict) as refused:
            check_parents(one_more, rules)
        assert refused.value.reason_code == "role_depth"


def test_a_snapshot_with_a_role_replaced_leaves_the_old_one_alone():
    before = rules_of(a_role("a", "docs:read"), version=7)
    assert before.permissions_of("a") == permissions("docs:read")
    after = before.with_role(a_role("a", "docs:write"))
    assert after.permissions_of("a") == permissions("docs:write")
    assert before.permissions_of("a") == permissions("docs:read")
    assert after.version == 7


def test_the_built_in_roles_are_the_ones_promised():
    assert set(BUILT_IN_ROLES) == {"admin", "manager", "user"}
    rules = rules_of()
    assert all(rules.permissions_of(ADMIN) >= permissions("*:*") for _ in OWN_PERMISSIONS)
    assert rules.permissions_of("user") == frozenset()


@pytest.mark.parametrize("text", ["", "Admin", "a b", "-a", "a-", "a/b", "x" * 65, "rôle", "a\n", "*"])
def test_a_malformed_role_name_is_refused(text):
    with pytest.raises(Invalid) as refused:
        parse_role_name(text)
    assert refused.value.fields[0].code == "role_name_malformed"


@pytest.mark.parametrize("text", ["a", "x" * 64, "docs.writer-2_b"])
def test_a_role_name_is_kept(text):
    assert parse_role_name(text) == text


def test_a_grant_is_in_force_from_its_start_up_to_its_end():
    grant = a_grant(starts_at=NOW, expires_at=NOW + SECOND)
    assert not grant.in_force(NOW - SECOND)
    assert grant.in_force(NOW)
    assert not grant.in_force(NOW + SECOND)


@pytest.mark.parametrize(
    ("changes", "makes"),
    [
        ({}, True),
        ({"starts_at": NOW}, True),
        ({"starts_at": NOW + SECOND}, False),
        ({"expires_at": NOW + SECOND}, False),
        ({"scope": Scope("org/acme")}, False),
        ({"role": "manager"}, False),
    ],
)
def test_only_a_direct_unending_admin_grant_everywhere_makes_an_administrator(changes, makes):
    assert a_grant(**{"role": ADMIN, **changes}).makes_administrator(NOW) is makes


@pytest.mark.parametrize(
    ("starts_at", "expires_at"),
    [(None, NOW), (None, NOW - SECOND), (NOW + SECOND, NOW + SECOND), (NOW + 2 * SECOND, NOW + SECOND)],
)
def test_times_that_would_never_be_in_force_are_refused(starts_at, expires_at):
    with pytest.raises(Invalid) as refused:
        check_times(starts_at, expires_at, NOW)
    assert refused.value.fields[0].pointer == "/expires_at"


@pytest.mark.parametrize(
    ("starts_at", "expires_at"),
    [(None, None), (NOW - SECOND, None), (NOW + SECOND, NOW + 2 * SECOND), (None, NOW + SECOND)],
)
def test_times_that_will_be_in_force_are_accepted(starts_at, expires_at):
    check_times(starts_at, expires_at, NOW)


def test_R08_a_role_held_somewhere_is_never_listed_as_held_everywhere():
    held = [
        a_grant(role="admin", scope=Scope("org/acme")),
        a_grant(role="user"),
        a_grant(role="manager", expires_at=NOW),
        a_grant(role="auditor", starts_at=NOW + SECOND),
    ]
    assert global_roles(held, NOW) == ("user",)


def test_global_roles_are_sorted_and_listed_once():
    assert global_roles([a_grant(role="user"), a_grant(role="admin"), a_grant(role="user")], NOW) == ("admin", "user")


def test_R08_the_last_administrator_cannot_leave():
    last, other, nobody = UserId(new_id()), UserId(new_id()), UserId(new_id())
    with pytest.raises(Conflict) as refused:
        check_administrator_remains(frozenset({last}), last)
    assert refused.value.reason_code == "last_administrator"
    check_administrator_remains(frozenset({last, other}), last)
    check_administrator_remains(frozenset({last}), nobody)
    check_administrator_remains(frozenset(), nobody)
