"""The view and its indexes against the plainest of models; and that undoing a change undoes all of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.kinds import CONTAINERS, IMAGES, KINDS
from store.objects import Container
from store.transaction import Transaction
from store.view import View
from tests.unit.store.samples import container, one_of_each

NUMBERS = st.integers(0, 40)
VALUES = st.sampled_from(["a", "b", ""])
STEPS = st.lists(st.tuples(st.sampled_from(["put", "remove"]), NUMBERS, VALUES, VALUES, VALUES), max_size=40)


def state(view: View[Container]) -> object:
    """All that can be read from a view, except for the order of its iteration."""
    return (
        {each.uid: each for each in view},
        {each.name: view.by_name(each.name) for each in view},
        view.by_prefix(""),
        {
            (index, value): {each.uid for each in view.where(index, value)}
            for index in CONTAINERS.indexes
            for value in ("a", "b", "")
        },
    )


@given(STEPS)
def test_a_view_finds_what_a_search_would_find(steps: list[tuple[str, int, str, str, str]]) -> None:
    view: View[Container] = View(CONTAINERS)
    model: dict[str, Container] = {}
    for step, number, image, network, volume in steps:
        obj = container(number, image=image, network=network, volume=volume)
        if step == "put":
            view.put(obj)
            model[obj.uid] = obj
        elif obj.uid in model:
            view.remove(obj.uid)
            del model[obj.uid]
    found = list(model.values())
    assert list(view) == found
    assert len(view) == len(found)
    for number in range(41):
        assert view.get(container(number).uid) == view.by_name(f"c{number}") == model.get(container(number).uid)
    for value in ("a", "b", "c"):
        assert _names(view.where("image", value)) == _names(each for each in found if each.spec.image_id == value)
        assert _names(view.where("network", value)) == _names(each for each in found if value in each.spec.endpoints)
        assert _names(view.where("volume", value)) == _names(
            each for each in found if value == each.spec.mounts[0].name
        )
    for prefix in ("", "0" * 63, "0" * 62 + "1", "f"):
        assert _names(view.by_prefix(prefix)) == _names(each for each in found if each.uid.startswith(prefix))


def _names(objects: object) -> set[str]:
    return {each.name for each in objects}  # type: ignore[attr-defined]


@given(STEPS, STEPS)
def test_undoing_a_transaction_restores_the_memory(
    before: list[tuple[str, int, str, str, str]], after: list[tuple[str, int, str, str, str]]
) -> None:
    memory = {kind: View(entry) for kind, entry in KINDS.items()}
    first, second = Transaction(memory, 0), Transaction(memory, 0)
    _apply(first, before)
    expected = state(memory[Container])
    _apply(second, after)
    second.undo()
    assert state(memory[Container]) == expected
    first.undo()
    assert len(memory[Container]) == 0


def _apply(transaction: Transaction, steps: list[tuple[str, int, str, str, str]]) -> None:
    for step, number, image, network, volume in steps:
        obj = container(number, image=image, network=network, volume=volume)
        if step == "remove":
            transaction.delete(Container, obj.uid)
        elif transaction.get(Container, obj.uid) is None:
            transaction.insert(obj)
        else:
            transaction.update(obj)


def test_an_image_is_found_by_its_digests_beginning_with_or_without_the_algorithm() -> None:
    view = View(IMAGES)
    image = next(obj for obj in one_of_each() if type(obj) is IMAGES.type)
    view.put(image)
    for prefix in ("abab", "sha256:abab", image.uid):
        assert view.by_prefix(prefix) == [image]
    assert view.by_prefix("sha256:b") == []


def test_every_field_of_every_kind_has_its_column_and_the_other_way_round() -> None:
    for obj in one_of_each():
        kind = KINDS[type(obj)]
        assert set(kind.row(obj)) == set(kind.table.columns.keys())


def test_every_kind_survives_its_row() -> None:
    for obj in one_of_each():
        kind = KINDS[type(obj)]
        assert kind.object(kind.row(obj)) == obj
