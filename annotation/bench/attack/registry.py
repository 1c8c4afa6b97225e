"""The list of attacks: a function with ``@attack`` above it is on it once its module is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from annotation.bench.attack.target import Target


@dataclass(frozen=True)
class Attack:
    """``run`` raises :class:`Breach` where the expectation does not hold."""

    kind: str
    name: str
    expectation: str
    run: Callable[[Target], None]


ATTACKS: list[Attack] = []


def attack(expectation: str) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
    """Lists a function as an attack. ``expectation``: what must happen, one sentence."""

    def listed(run: Callable[[Target], None]) -> Callable[[Target], None]:
        ATTACKS.append(Attack(run.__module__.rpartition(".")[2], run.__name__, expectation, run))
        return run

    return listed
