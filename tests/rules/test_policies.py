"""Decisions say why, fail closed, and nobody gives what they do not hold."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_grant, a_role, a_user, an_actor, facts_of, permissions, rules_of
from domain.errors import Forbidden
from domain.policies import (
    AccessRequest,
    Actor,
    ActorKind,
    Decision,
    Facts,
    Origin,
    decide,
    may_control,
    may_grant,
    may_hold_out,
    require,
)
from domain.roles import ADMIN, GRANTS_WRITE, USERS_READ, USERS_WRITE, Permission, Rules
from domain.scopes import EVERYWHERE, Scope
from domain.users import UserId, UserStatus

ACME = Scope("org/acme")
PROJECT = Scope("org/acme/project")
READ = Permission("docs", "read")
WRITE = Permission("docs", "write")
RULES = rules_of(
    a_role("reader", "docs:read"),
    a_role("writer", "docs:write", parents=["reader"]),
    a_role("giver", "grants:write", parents=["writer"]),
    a_role("keeper", "users:write", "docs:read"),
    version=5,
)

places = st.sampled_from([EVERYWHERE, Scope("org"), ACME, Scope("org/acme-2"), PROJECT])
held_roles = st.sampled_from(["reader", "writer", "giver", "keeper", "admin", "manager", "user", "ghost"])
wanted = st.sampled_from([READ, WRITE, GRANTS_WRITE, USERS_READ, Permission("*", "*"), Permission("docs", "*")])
hours = st.one_of(st.none(), st.integers(-6, 12))


def at_hour(hour):
    return None if hour is None else NOW + timedelta(hours=hour)


@st.composite
def grants(draw):
    return a_grant(
        UserId(uuid4()),
        draw(held_roles),
        scope=draw(places),
        starts_at=at_hour(draw(hours)),
        expires_at=at_hour(draw(hours)),
    )


several = st.lists(grants(), max_size=6)


def ask(permission, scope, *held, at=NOW, **changes):
    return decide(AccessRequest(permission, scope, at), facts_of(*held, **changes), RULES)


def test_a_grant_above_allows_and_says_through_which_roles():
    grant = a_grant(role="giver", scope=ACME)
    decision = ask(READ, PROJECT, grant, authv=9)
    assert decision.allowed
    assert decision.reasons[0].code == "granted"
    assert decision.reasons[0].grant == grant.id
    assert decision.reasons[0].path == ("giver", "writer", "reader")
    assert decision.reason == "giver -> writer -> reader holds docs:read, granted at org/acme"
    assert (decision.authv, decision.rules_version) == (9, 5)


@pytest.mark.parametrize("scope", [EVERYWHERE, Scope("org"), Scope("org/acme-2")])
def test_a_grant_allows_nothing_above_or_beside_its_scope(scope):
    decision = ask(READ, scope, a_grant(role="reader", scope=ACME))
    assert not decision.allowed
    assert decision.reasons[0].code == "no_grant"


def test_without_grants_nothing_is_allowed():
    assert not ask(READ, PROJECT).allowed


@pytest.mark.parametrize("times", [{"expires_at": NOW}, {"starts_at": NOW + SECOND}])
def test_a_grant_that_is_not_in_force_denies_and_is_named(times):
    grant = a_grant(role="reader", **times)
    decision = ask(READ, ACME, grant)
    assert not decision.allowed
    assert (decision.reasons[0].code, decision.reasons[0].grant) == ("grant_not_in_force", grant.id)


@pytest.mark.parametrize("status", [s for s in UserStatus if s is not UserStatus.ACTIVE])
def test_only_active_accounts_are_allowed_anything(status):
    decision = ask(READ, ACME, a_grant(role=ADMIN), status=status)
    assert not decision.allowed
    assert decision.reasons[0].code == "not_active"
    actor = an_actor(a_grant(role=ADMIN), status=status)
    assert not actor.covers(READ, ACME, NOW, None)
    assert actor.scopes(READ) == ()


def test_a_grant_of_a_role_that_is_gone_allows_nothing():
    assert not ask(READ, ACME, a_grant(role="ghost")).allowed


def test_holding_one_action_is_not_holding_all_of_them():
    assert not ask(Permission("docs", "*"), ACME, a_grant(role="giver")).allowed


@given(several, wanted, places, st.integers(-7, 13), st.randoms())
def test_a_decision_is_the_same_in_any_order_of_grants_and_only_grows_with_more(held, permission, scope, hour, chance):
    at = at_hour(hour)
    before = ask(permission, scope, *held, at=at)
    shuffled = list(held)
    chance.shuffle(shuffled)
    assert ask(permission, scope, *shuffled, at=at).allowed == before.allowed
    more = ask(permission, scope, *held, a_grant(role="writer", scope=ACME), at=at)
    assert more.allowed or not before.allowed


@given(several, wanted, places, st.integers(-7, 13))
def test_a_decision_agrees_with_the_definition(held, permission, scope, hour):
    at = at_hour(hour)
    expected = any(
        g.scope.reaches(scope)
        and (g.starts_at is None or g.starts_at <= at)
        and (g.expires_at is None or at < g.expires_at)
        and any(p.covers(permission) for p in RULES.permissions_of(g.role))
        for g in held
    )
    decision = ask(permission, scope, *held, at=at)
    assert decision.allowed == expected
    assert decision.reason


def test_a_decision_is_not_a_truth_value():
    with pytest.raises(TypeError):
        bool(ask(READ, ACME))


def test_requiring_raises_with_the_reason_unless_allowed():
    require(ask(READ, ACME, a_grant(role="reader")))
    with pytest.raises(Forbidden, match="no role grants docs:read at org/acme"):
        require(ask(READ, ACME))


@given(several, wanted, places, st.integers(0, 12), hours)
def test_covering_a_time_is_holding_it_at_every_moment(held, permission, scope, since, until):
    """A naive oracle: ask at every half hour, which is finer than anything here begins or ends."""
    actor = an_actor(*held, rules=RULES)
    start, end = at_hour(since), at_hour(until)
    assume(end is None or start < end)
    moments = [start + timedelta(minutes=30) * n for n in range(60)]
    asked = [m for m in moments if end is None or m < end]
    oracle = all(ask(permission, scope, *held, at=m).allowed for m in asked)
    assert actor.covers(permission, scope, start, end) == oracle


def test_grants_that_meet_cover_together_and_with_a_gap_they_do_not():
    early, late = a_grant(role="reader", expires_at=NOW + DAY), a_grant(role="reader", starts_at=NOW + DAY)
    assert an_actor(early, late, rules=RULES).covers(READ, ACME, NOW, None)
    gap = a_grant(role="reader", starts_at=NOW + DAY + timedelta(microseconds=1))
    assert not an_actor(early, gap, rules=RULES).covers(READ, ACME, NOW, None)
    assert an_actor(early, gap, rules=RULES).covers(READ, ACME, NOW, NOW + DAY)


def test_the_past_needs_no_cover():
    assert an_actor(a_grant(role="reader", starts_at=NOW), rules=RULES).covers(READ, ACME, NOW - DAY, NOW + DAY)


@given(several, wanted, places)
def test_the_scopes_of_an_actor_are_where_decisions_allow(held, permission, scope):
    actor = an_actor(*held, rules=RULES)
    assert any(s.reaches(scope) for s in actor.scopes(permission)) == actor.decide(permission, scope).allowed


@given(several, wanted, places, hours)
def test_R08_nobody_holds_out_what_they_would_not_be_allowed_themselves(held, permission, scope, until):
    assume(until is None or until > 0)
    actor = an_actor(*held, rules=RULES)
    if may_hold_out(actor, [permission], scope, NOW, at_hour(until)).allowed:
        assert actor.decide(permission, scope).allowed


@given(several, held_roles, places, st.integers(0, 12), hours)
def test_R08_whoever_receives_a_grant_can_do_nothing_the_giver_could_not(held, role, scope, since, until):
    giver = an_actor(*held, rules=RULES)
    start, end = at_hour(since), at_hour(until)
    if end is not None and end <= start:
        return
    if not may_grant(giver, GRANTS_WRITE, role, scope, start, end).allowed:
        return
    given_grant = a_grant(role=role, scope=scope, starts_at=start, expires_at=end)
    for moment in (start, start + timedelta(minutes=30), (end or at_hour(40)) - timedelta(minutes=30)):
        for permission in RULES.permissions_of(role):
            assert not given_grant.in_force(moment) or ask(permission, scope, *held, at=moment).allowed


def test_R08_the_right_to_grant_is_not_the_right_to_grant_anything():
    giver = an_actor(a_grant(role="giver", scope=ACME), rules=RULES)
    assert may_grant(giver, GRANTS_WRITE, "writer", PROJECT, NOW, None).allowed
    for role, scope in [("keeper", ACME), (ADMIN, ACME), ("writer", EVERYWHERE), ("writer", Scope("org/acme-2"))]:
        decision = may_grant(giver, GRANTS_WRITE, role, scope, NOW, None)
        assert not decision.allowed
        assert decision.reason


def test_holding_a_role_is_not_the_right_to_grant_it():
    decision = may_grant(an_actor(a_grant(role="writer"), rules=RULES), GRANTS_WRITE, "writer", ACME, NOW, None)
    assert decision.reasons[0].code == "no_grant"


def test_R08_a_grant_that_ends_gives_nothing_beyond_its_end():
    giver = an_actor(a_grant(role="giver", expires_at=NOW + DAY), rules=RULES)
    assert may_grant(giver, GRANTS_WRITE, "reader", ACME, NOW, NOW + DAY).allowed
    for until in (NOW + DAY + SECOND, None):
        assert may_grant(giver, GRANTS_WRITE, "reader", ACME, NOW, until).reasons[0].code == "not_covered"


def test_R08_an_emptied_admin_role_still_asks_for_everything():
    emptied = Rules({**RULES.roles, ADMIN: a_role(ADMIN)})
    giver = an_actor(a_grant(role="giver"), rules=emptied)
    assert not may_grant(giver, GRANTS_WRITE, ADMIN, EVERYWHERE, NOW, None).allowed


def test_R08_a_manager_cannot_take_over_an_administrator():
    manager = an_actor(a_grant(role="manager"), rules=RULES)
    administrator = a_user()
    held = facts_of(a_grant(administrator, ADMIN))
    assert may_control(manager, USERS_WRITE, administrator, held).reasons[0].code == "not_covered"
    assert may_control(manager, USERS_WRITE, a_user(), facts_of()).allowed
    assert may_control(manager, USERS_WRITE, a_user(), facts_of(a_grant(role="manager"))).allowed


def test_control_needs_the_permission_at_the_scope_of_the_account():
    keeper = an_actor(a_grant(role="keeper", scope=ACME), rules=RULES)
    assert may_control(keeper, USERS_WRITE, a_user(scope=PROJECT), facts_of()).allowed
    assert not may_control(keeper, USERS_WRITE, a_user(scope=EVERYWHERE), facts_of()).allowed
    assert not may_control(keeper, USERS_WRITE, a_user(scope=Scope("org/acme-2")), facts_of()).allowed


def test_authority_that_the_account_will_have_counts_and_what_it_had_does_not():
    keeper = an_actor(a_grant(role="keeper"), rules=RULES)
    coming = facts_of(a_grant(role=ADMIN, starts_at=NOW + DAY))
    lapsed = facts_of(a_grant(role=ADMIN, expires_at=NOW))
    assert not may_control(keeper, USERS_WRITE, a_user(), coming).allowed
    assert may_control(keeper, USERS_WRITE, a_user(), lapsed).allowed


def test_authority_of_a_suspended_account_counts_because_it_may_come_back():
    keeper = an_actor(a_grant(role="keeper"), rules=RULES)
    held = facts_of(a_grant(role=ADMIN), status=UserStatus.SUSPENDED)
    assert not may_control(keeper, USERS_WRITE, a_user(status=UserStatus.SUSPENDED), held).allowed


def test_one_may_change_oneself_whatever_else_one_holds():
    me = a_user()
    grants_held = (a_grant(me, "keeper"), a_grant(me, ADMIN, scope=ACME, starts_at=NOW + DAY))
    actor = an_actor(*grants_held, rules=RULES)
    assert may_control(actor, USERS_WRITE, me, facts_of(*grants_held)).allowed


@given(several, several, places)
def test_R08_who_controls_an_account_can_do_everywhere_what_that_account_can(own, theirs, scope):
    actor, target = an_actor(*own, rules=RULES), a_user()
    if not may_control(actor, USERS_WRITE, target, facts_of(*theirs)).allowed:
        return
    for hour in (0, 1, 5, 11, 20):
        for permission in (READ, WRITE, GRANTS_WRITE, USERS_READ, Permission("*", "*")):
            theirs_allowed = ask(permission, scope, *theirs, at=at_hour(hour)).allowed
            assert not theirs_allowed or ask(permission, scope, *own, at=at_hour(hour)).allowed


def test_the_local_operator_and_jobs_act_with_full_rights():
    origin = Origin(door="command")
    for actor in (Actor.operator("root", RULES, NOW, origin), Actor.system("start", RULES, NOW)):
        assert actor.unbounded
        assert actor.decide(Permission("*", "*"), EVERYWHERE).allowed
        assert actor.covers(Permission("*", "*"), EVERYWHERE, NOW, None)
        assert actor.scopes(READ) == (EVERYWHERE,)
        assert may_grant(actor, GRANTS_WRITE, ADMIN, EVERYWHERE, NOW, None).allowed
    assert Actor.operator("root", RULES, NOW, origin).label == "operator:root"
    assert Actor.system("start", RULES, NOW).label == "system:start"


def test_an_operator_who_acts_as_a_user_has_only_that_users_rights():
    actor = Actor.operator("root", RULES, NOW, Origin(), as_user=facts_of(a_grant(role="reader", scope=ACME)))
    assert not actor.unbounded
    assert actor.label == "operator:root"
    assert actor.decide(READ, ACME).allowed
    assert not actor.decide(WRITE, ACME).allowed
    assert actor.scopes(READ) == (ACME,)


def test_a_caller_of_whom_nothing_is_known_may_do_nothing():
    actor = Actor(ActorKind.USER, "x", NOW, RULES, None, Origin())
    assert actor.decide(READ, ACME).reasons[0].code == "unknown_subject"
    assert not actor.covers(READ, ACME, NOW, None)
    assert actor.scopes(READ) == ()


def test_an_actor_from_a_token_is_named_by_id():
    facts = Facts(a_user().id, UserStatus.ACTIVE, ())
    session = uuid4()
    actor = Actor.from_token(facts, RULES, NOW, session, Origin())
    assert (actor.label, actor.session_id) == (f"user:{facts.user_id}", session)
    assert isinstance(actor.decide(READ, ACME), Decision)
    assert permissions("docs:read") == {READ}
