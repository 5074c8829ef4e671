"""Names for containers: which are allowed, and one for a container that was given none; and identifiers.

The form of a generated name, ``adjective_surname``, is what people know from Docker; the words are ours,
the surnames those of people who built operating systems, networks, languages and the theory under them.
"""

import os
import string

from ..errors import InvalidArgument

_FIRST = frozenset(string.ascii_letters + string.digits)
_REST = _FIRST | frozenset("_.-")

_ADJECTIVES = """
    able agile amber ample apt arctic astute autumn avid azure balmy blithe bold bonny brave breezy
    bright brisk calm candid careful cheery civil clear clever cobalt cosy crimson crisp curious
    dapper daring deft diligent dreamy eager earnest easy elegant emerald even fabled fair fearless
    festive fleet fluent fond frank fresh frosty gallant gentle gilded glad golden graceful grand
    hale handy hardy hearty honest hopeful humble indigo ivory jaunty jolly jovial keen kind lively
    loyal lucid lunar mellow merry mighty mild modest neat nimble noble novel opal patient placid
    plucky polite prompt proud quick quiet rapid ready robust rosy ruby rustic sage scarlet serene
    sharp silver sincere sleek smart snowy snug solar solid spry stable steady stellar sturdy sunny
    supple swift tender tidy tranquil trusty upbeat valiant vast velvet verdant vivid warm wily
    winsome wise witty zesty
"""
ADJECTIVES = tuple(_ADJECTIVES.split())

_SURNAMES = """
    abramson aho allman backus bayer bellovin berners bourne brooks bryant cerf chomsky church codd
    cook corbato curry dahl daley davies dennis diffie dijkstra eckert elgamal engelbart estrin
    feinler floyd goldberg gosling gray hamilton hamming hellman hoare holberton hopper huffman
    iverson jacobson johnson joy kahan kahn karp kay kernighan kilburn kildall kleene kleinrock
    knuth lampson lamport landin lesk liskov lovelace mauchly mccarthy mcilroy mckusick merkle
    metcalfe milner minsky moore mockapetris morris naur neumann newell nygaard organick ossanna
    pike postel presotto rabin randell reynolds ritchie rivest sammet scott shamir shannon stallman
    stearns steele strachey sutherland tanenbaum tarjan thompson torvalds trickey turing ullman
    vyssotsky weinberger wilkes wilkinson winograd wirth wozniak yao zuse
"""
SURNAMES = tuple(_SURNAMES.split())


def check(name: str) -> str:
    """The name without the slash that clients may put before it; ``InvalidArgument`` in Docker's words."""
    bare = name.removeprefix("/")
    if len(bare) < 2 or bare[0] not in _FIRST or not _REST.issuperset(bare):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def identifier() -> str:
    """A new one: 64 hexadecimal digits, of which the first twelve, a host name, are not all decimal."""
    while (found := os.urandom(32).hex())[:12].isdecimal():
        pass
    return found


def generate(attempt: int = 0) -> str:
    """A random name. From the second attempt on it ends in a number, so that a full table comes to an end."""
    # not the random module: a process forked from a preloaded one must not repeat its siblings' choices
    number = int.from_bytes(os.urandom(8), "little")
    number, adjective = divmod(number, len(ADJECTIVES))
    number, surname = divmod(number, len(SURNAMES))
    name = f"{ADJECTIVES[adjective]}_{SURNAMES[surname]}"
    return name if attempt == 0 else f"{name}{number % 10**attempt}"
