"""Small frozen values: equal by their fields, made whole or not at all."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.system.record import Record

WORDS = st.text(max_size=5)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), WORDS, st.tuples(st.integers(), WORDS))


class Place(Record):
    town: Any
    house_number: Any = 1


class Flat(Place):
    floor: Any


class Named(Flat):
    house_number: Any
    """Said again: it keeps its place, and its default."""


@given(VALUES, VALUES)
def test_a_record_has_the_fields_it_was_given(town: object, number: object) -> None:
    place = Place(town=town, house_number=number)
    assert (place.town, place.house_number) == (town, number)
    assert place.fields() == {"town": town, "house_number": number}


@given(VALUES, VALUES)
def test_two_are_equal_when_their_fields_are(one: object, other: object) -> None:
    assert (Place(town=one) == Place(town=other)) is (one == other)
    if one == other:
        assert hash(Place(town=one)) == hash(Place(town=other))


def test_records_of_two_classes_are_never_equal() -> None:
    class Other(Record):
        town: Any
        house_number: Any = 1

    assert Place(town="a") != Other(town="a")
    assert Place(town="a") != Flat(town="a", floor=1)
    assert Place(town="a") != {"town": "a", "house_number": 1}


@given(VALUES)
def test_copies_and_pickles_are_equal(town: object) -> None:
    place = Place(town=town)
    assert copy.copy(place) == copy.deepcopy(place) == pickle.loads(pickle.dumps(place)) == place


def test_a_default_stands_for_a_field_that_was_not_given() -> None:
    assert Place(town="a").fields() == {"town": "a", "house_number": 1}


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    assert list(Flat(town="a", floor=2).fields()) == ["town", "house_number", "floor"]
    assert list(Named(town="a", floor=2).fields()) == ["town", "house_number", "floor"]
    assert list(Place(town="a").fields()) == ["town", "house_number"]


def test_a_subclass_without_fields_of_its_own_is_still_whole() -> None:
    class Home(Place):
        pass

    assert list(Home(town="a").fields()) == ["town", "house_number"]


@pytest.mark.parametrize(
    ("given_fields", "message"),
    [
        ({}, r"Place: missing \['town'\], unknown \[\]"),
        ({"town": 1, "twon": 2}, r"Place: missing \[\], unknown \['twon'\]"),
        ({"twon": 2}, r"missing \['town'\], unknown \['twon'\]"),
    ],
)
def test_a_missing_or_unknown_field_is_an_error(given_fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Place(**given_fields)


def test_a_record_is_frozen() -> None:
    place = Place(town="a")
    with pytest.raises(AttributeError, match="Place is frozen: town can't be set"):
        place.town = "b"
    with pytest.raises(AttributeError, match="frozen"):
        place.other = "b"
    with pytest.raises(AttributeError, match="frozen"):
        del place.town
    assert place == Place(town="a")


def test_a_record_says_what_it_is() -> None:
    place = Place(town="Ulm")
    assert repr(place) == "Place(town='Ulm', house_number=1)"
    assert str(place) == "town Ulm, house number 1"
