from __future__ import annotations

import pytest

from mydocker.container import names
from mydocker.errors import InvalidArgument


@pytest.mark.parametrize("name", ["web", "/web", "a1", "A-b_c.d", "0x"])
def test_allowed(name: str) -> None:
    assert names.check(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "/a", "-ab", ".ab", "a b", "a/b", "ä1", "a:b", "ab\n"])
def test_refused_in_docker_s_words(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        names.check(name)
    assert str(caught.value) == f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"


def test_generated_names_are_allowed_and_differ() -> None:
    made = {names.generate() for _ in range(200)}
    assert all(names.check(name) == name for name in made)
    assert len(made) > 150


def test_every_word_is_used_once_and_fits() -> None:
    for words in (names.ADJECTIVES, names.SURNAMES):
        assert len(set(words)) == len(words)
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_later_attempts_end_in_a_number() -> None:
    assert names.generate(3)[-1].isdigit()
