"""Tests of what fedid writes to OpenFGA and records of it: nothing that is there and not on record is ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.membership import Entry, Membership, Place, Record, TupleState, changes, record_in, tuple_of
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import RelationTuple

PLACE = Place("local", "https://openfga", "s", "service:grid", "has_access")
SUBJECTS = ("a", "b", "c", "d")


def entry(subject: str, state: TupleState = TupleState.WRITING) -> Entry:
    """Return the entry of a bot whose name is its subject."""
    return Entry(subject, ObjectKey("BotClient", "site-a", subject), f"uid-{subject}", state)


def test_a_record_is_read_as_it_was_written() -> None:
    """The status holds all that a removal needs to know, and how many tuples are there."""
    record = Record(PLACE, (entry("a", TupleState.WRITTEN), entry("b")))
    assert record.fields()["count"] == 1
    assert record_in({"openFga": record.fields()}) == record
    assert record_in({}) is None
    assert record_in({"openFga": {"problem": {"reason": "Conflict"}}}) is None


def test_the_tuple_of_an_account() -> None:
    """Source: Flower documentation, the model's type `flwr_aid`."""
    assert tuple_of(PLACE, "a") == RelationTuple("flwr_aid:a", "has_access", "service:grid")


def test_another_relation_is_another_ask() -> None:
    """Flower's own need not be named."""
    assert Membership("s", "service:grid", "has_access", None, None).ask.value == "service:grid"
    assert Membership("s", "service:grid", "owner", None, None).ask.value == "service:grid#owner"


@given(
    recorded=st.dictionaries(st.sampled_from(SUBJECTS), st.sampled_from(TupleState)),
    wanted=st.sets(st.sampled_from(SUBJECTS)),
    seen=st.sets(st.sampled_from(SUBJECTS)),
)
def test_a_strangers_tuple_is_never_recorded(recorded: dict[str, TupleState], wanted: set[str], seen: set[str]) -> None:
    """Whatever stands where: ours are those on record and those that were absent; the rest is told as foreign."""
    ours = {subject: state for subject, state in recorded.items() if subject in wanted}
    record = Record(PLACE, tuple(entry(*one) for one in ours.items()))
    found = changes(record, [entry(one) for one in sorted(wanted)], frozenset(f"flwr_aid:{one}" for one in seen))
    strangers = (wanted & seen) - set(ours)
    assert {one.subject for one in found.foreign} == strangers
    assert {one.subject for one in found.record.entries} == wanted - strangers
    assert {one.subject for one in found.write} == wanted - seen
    assert found.fresh == wanted - seen - set(ours)
    written = {one.subject for one in found.record.entries if one.state is TupleState.WRITTEN}
    assert written == set(ours) & seen, "what is not there is on record as being written"
