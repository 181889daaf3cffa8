"""What clients of a machine that dies remember of its promises."""

from __future__ import annotations

import random
import tarfile
from io import BytesIO

import pytest

from tests.machine.load import ABSENT, PRESENT, Promises, derived
from tests.machine.machine import Lost
from tests.support.image_content import digest_of


def test_what_was_answered_has_to_be_there() -> None:
    promises = Promises()
    with promises.towards("volume v", PRESENT):
        pass
    assert promises.broken({"volume v": PRESENT}) == []
    assert promises.broken({}) == ["volume v: absent, promised present"]


def test_what_was_under_way_may_have_happened_or_not() -> None:
    promises = Promises({"volume v": {PRESENT}})
    with pytest.raises(Lost), promises.towards("volume v", ABSENT):
        raise Lost
    assert promises.broken({}) == promises.broken({"volume v": PRESENT}) == []
    promises.take({"volume v": PRESENT})
    assert promises.now("volume v") == PRESENT


def test_what_ran_has_exited() -> None:
    promises = Promises({"container c": {"running"}})
    assert promises.broken({"container c": "exited"}) == []
    assert promises.broken({"container c": "created"}) == ["container c: created, promised running"]


def test_images_are_of_their_own_content_and_known_by_their_id() -> None:
    source = random.Random(1)
    (archive, uid), (_, other) = derived("x:1", source), derived("x:1", source)
    assert uid != other
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        config = tar.extractfile("config.json")
        assert config is not None
        assert digest_of(config.read()) == uid
