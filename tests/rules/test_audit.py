"""Audit events say who acted, through which door, and with whose rights."""

from builders import NOW, a_grant, an_actor, facts_of, new_id, rules_of
from domain.audit import Action, EventId, Outcome, by_actor, by_origin
from domain.policies import Actor, Origin
from domain.scopes import Scope

ACME = Scope("org/acme")
ORIGIN = Origin(door="rest", address="192.0.2.7", correlation_id="c-1", user_agent="tests")


def event_of(actor):
    return by_actor(EventId(new_id()), NOW, actor, Action.ROLE_CREATED, "role:writer", ACME, {"version": 1})


def test_an_event_of_an_actor_carries_where_they_came_from():
    actor = Actor.operator("root", rules_of(), NOW, ORIGIN)
    event = event_of(actor)
    assert (event.actor, event.subject, event.scope, event.outcome) == (
        "operator:root",
        "role:writer",
        ACME,
        Outcome.SUCCESS,
    )
    assert (event.door, event.address, event.correlation_id) == ("rest", "192.0.2.7", "c-1")
    assert event.details == {"version": 1}


def test_who_acts_as_somebody_else_is_recorded_under_both_names():
    facts = facts_of(a_grant())
    event = event_of(Actor.operator("root", rules_of(), NOW, ORIGIN, as_user=facts))
    assert event.actor == "operator:root"
    assert event.details == {"version": 1, "as_user": str(facts.user_id)}


def test_a_signed_in_user_acts_under_their_own_name_alone():
    actor = an_actor(a_grant())
    event = event_of(actor)
    assert event.actor == f"user:{actor.facts.user_id}"
    assert event.details == {"version": 1}


def test_a_refusal_at_the_door_has_a_reason_and_nobody_as_its_actor():
    event = by_origin(
        EventId(new_id()), NOW, ORIGIN, Action.SIGN_IN_FAILED, "anonymous", None, Outcome.REFUSED, "password", {}
    )
    assert (event.actor, event.outcome, event.reason, event.address) == (
        "anonymous",
        Outcome.REFUSED,
        "password",
        "192.0.2.7",
    )
