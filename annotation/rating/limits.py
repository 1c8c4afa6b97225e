"""Rate limits: how often one login, and one address, may ask for what costs the server something.

A request counts for its login if it has one, otherwise for its address: a class behind one address can rate, and a new
cookie with every request gains nothing. Only entering and what strangers may ask for counts for the address in any
case. Everything is in memory; addresses are kept as keyed hashes, with a key that dies with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import limits as library
from limits.storage import MovingWindowSupport, Storage

from emotion_omni.types import EmotionOmniError

MOST_ENTRIES = 400_000  # remembered requests, about 40 bytes each
MOST_KNOWN = 20_000  # pairs of account and address that have signed in
PASSWORDS_AT_ONCE, PASSWORDS_WAITING = 2, 40  # each takes a processor and 16 MB for a tenth of a second
MEGABYTE = 2**20
BUSY = "Too many requests at once. This page goes on by itself in a moment."
FULL = "Many people have come in from your network just now. Please try again in a few minutes."
LOCKED = "Too many wrong passwords. Wait a minute and try again."


@dataclass(frozen=True)
class Limit:
    """Both hold. Each is a list of numbers per time, as the library ``limits`` reads them; empty: no limit."""

    each: str = ""  # login; where nobody is signed in: address
    address: str = ""  # all logins of an address together, and strangers
    message: str = BUSY


DEFAULT = Limit("240/minute")
LIMITS: Mapping[str, Limit] = {
    "guest": Limit(address="60/10 minutes; 240/day", message=FULL),
    "invite": Limit(address="120/10 minutes", message=FULL),
    "password": Limit(address="100/10 minutes", message=LOCKED),
    "/leave": Limit("30/minute"),
    "/me": Limit("600/minute"),  # of strangers too: a class that opens the page
    "/next": Limit("240/minute"),
    "/heard": Limit("600/minute"),
    "/submit": Limit("240/minute"),
    "/skip": Limit("60/minute"),
    "/phase": Limit("120/minute"),
    "/practice": Limit("30/minute"),
    "/withdraw": Limit("10/minute", address="60/10 minutes"),
    "/take-back": Limit("10/minute", address="30/10 minutes"),
    "/clip": Limit("600/minute"),
    "/example": Limit("600/minute"),
    "/export": Limit("10/minute"),
    "upload": Limit("40/minute"),
    "upload megabytes": Limit("66/minute; 400/hour"),
    "realtime": Limit("60/minute; 600/hour"),  # lines that are opened
    "turn": Limit("60/minute; 900/hour"),  # of talking
    "queue": Limit("1200/minute"),  # the page's own events, several at each opening
}
WRONG_HERE = "8/minute"  # passwords for one account from one address
WRONG_ANYWHERE = "60/10 minutes"  # passwords for one account from addresses that have not signed in to it lately


class TooMany(EmotionOmniError):
    """Refused for now. ``seconds``: when to try again."""

    def __init__(self, message: str, seconds: float, code: str = "too-many") -> None:
        super().__init__(message, code)
        self.seconds = max(1, math.ceil(seconds))


@dataclass(frozen=True)
class Visitor:
    """Who sends a request. ``address``: a keyed hash; ``login``: empty for strangers."""

    address: str
    login: str = ""

    @property
    def key(self) -> str:
        return f"login {self.login}" if self.login else self.address


class Limits:
    def __init__(self) -> None:
        self._limiter = library.strategies.MovingWindowRateLimiter(BoundedMemory())
        self._salt = secrets.token_bytes(32)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()  # (account, address) that have signed in
        self._waiting = 0  # passwords
        self._turns = asyncio.Semaphore(PASSWORDS_AT_ONCE)

    def hidden(self, address: str) -> str:
        """A name for an address from which it cannot be found."""
        return hashlib.blake2b(address.encode(), key=self._salt, digest_size=12).hexdigest()

    def check(self, name: str, visitor: Visitor, cost: int = 1) -> None:
        """Count a request; refuse it with :class:`TooMany` if there were too many. ``name``: a key of ``LIMITS``."""
        limit = LIMITS.get(name, DEFAULT)
        for rates, key in ((limit.each, visitor.key), (limit.address, visitor.address)):
            self._count(rates, (name, key), limit.message, cost=cost)

    def check_password(self, account: str, visitor: Visitor) -> None:
        """Count a password before it is tried, so that many at once cannot all pass."""
        account = self.hidden(account)
        self.check("password", visitor)
        self._count(WRONG_HERE, ("wrong", account, visitor.address), LOCKED, "locked")
        if (account, visitor.address) not in self._known:  # or strangers could lock the owner out
            self._count(WRONG_ANYWHERE, ("wrong", account), LOCKED, "locked")

    def password_was_right(self, account: str, visitor: Visitor) -> None:
        account = self.hidden(account)
        for item in _parsed(WRONG_HERE):
            self._limiter.clear(item, "wrong", account, visitor.address)
        self._known[account, visitor.address] = None
        self._known.move_to_end((account, visitor.address))
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    @asynccontextmanager
    async def password_turn(self) -> AsyncIterator[None]:
        """Passwords wait here and not in the threads that serve everybody."""
        if self._waiting >= PASSWORDS_WAITING:
            raise TooMany(BUSY, 3)
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1

    def _count(self, rates: str, key: tuple[str, ...], message: str, code: str = "too-many", cost: int = 1) -> None:
        for item in _parsed(rates):
            if not self._limiter.hit(item, *key, cost=cost):
                wait = self._limiter.get_window_stats(item, *key).reset_time - time.time()
                raise TooMany(message, min(wait, item.get_expiry()), code)


@cache
def _parsed(rates: str) -> tuple[library.RateLimitItem, ...]:
    return tuple(library.parse_many(rates)) if rates else ()


class BoundedMemory(Storage, MovingWindowSupport):
    """The times of requests by key, for the moving window of ``limits``. Full, it forgets the key used longest ago.

    The library's own memory grows with the number of keys, and walks through all of them every 10 ms.
    """

    STORAGE_SCHEME = ["bounded-memory"]

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        super().__init__()
        self._most, self._entries, self._lock = most, 0, threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()  # newest time last

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        with self._lock:
            times = self._times.setdefault(key, deque())
            self._times.move_to_end(key)
            while times and times[0] <= now - expiry:
                times.popleft()
                self._entries -= 1
            if len(times) + amount > limit:
                return False
            times.extend([now] * amount)
            self._entries += amount
            while self.entries > self._most and len(self._times) > 1:
                self._entries -= len(self._times.popitem(last=False)[1])
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = time.time()
        with self._lock:
            times = [then for then in self._times.get(key, ()) if then > now - expiry]
        return (times[0], len(times)) if times else (now, 0)

    @property
    def entries(self) -> int:
        """Requests and keys that are remembered."""
        return self._entries + len(self._times)

    def clear(self, key: str) -> None:
        with self._lock:
            self._entries -= len(self._times.pop(key, ()))

    def reset(self) -> int | None:
        with self._lock:
            keys = len(self._times)
            self._times.clear()
            self._entries = 0
        return keys

    def check(self) -> bool:
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def get(self, key: str) -> int:
        return len(self._times.get(key, ()))

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("This memory is for moving windows only.")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("This memory is for moving windows only.")
