"""Subjects take turns."""

from collections import Counter

from edge.lab.turns import in_turns


def test_each_round_has_every_subject_once_in_an_order_of_its_own() -> None:
    left = Counter({"a": 30, "b": 30, "c": 30})
    order = []
    for subject in in_turns("abc", lambda each: left[each] > 0):
        left[subject] -= 1
        order.append(subject)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert len(rounds) == 30
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) == 6, "every order came up"


def test_the_order_is_the_same_for_the_same_seed_only() -> None:
    def order(seed: int) -> list[int]:
        left = Counter(dict.fromkeys(range(5), 4))

        def wants_more(subject: int) -> bool:
            left[subject] -= 1
            return left[subject] > 0

        return list(in_turns(range(5), wants_more, seed=seed))

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_who_has_enough_or_has_died_gets_no_further_turn() -> None:
    left = Counter(a=1, b=3)
    dead: set[str] = set()
    order = []
    for subject in in_turns(
        "abc", lambda each: each not in dead and (each == "c" or left[each] > 0)
    ):
        left[subject] -= 1
        order.append(subject)
        if order.count("c") == 2:
            dead.add("c")
    assert Counter(order) == {"a": 1, "b": 3, "c": 2}


def test_without_subjects_there_are_no_turns() -> None:
    assert list(in_turns([], lambda _: True)) == []
