"""Accounts: guests, and people who sign in with a name and a password."""

from __future__ import annotations

import uuid
from typing import Any

from annotation.people.passwords import check_password, hash_password, is_right
from annotation.store.store import Store
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

LONGEST_NAME = 60  # characters


class Accounts:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add_guest(self, name: Any) -> str:
        """Anyone may rate in an open study under a name of their choice → the rater."""
        return self._store.write(lambda transaction: add_rater(transaction, _display_name(name), "rater"))

    def register(self, name: Any, password: Any, role: str = "rater", cohort: str = "") -> str:
        """A new account with a password → the rater."""
        shown = _display_name(name)
        hashed, account = hash_password(check_password(password)), account_of(shown)

        def add(transaction: Transaction) -> str:
            if transaction.account(account):
                raise EmotionOmniError("This name is taken. Choose another.", "taken")
            return add_rater(transaction, shown, role, account, cohort, secret=hashed)

        return self._store.write(add)

    def sign_in(self, name: Any, password: Any) -> str:
        account = account_of(name)
        with self._store.read() as view:
            known = view.account(account)
        if not is_right(password, known["secret"] if known else None) or known is None:
            raise EmotionOmniError("Name or password is wrong.", "sign-in")
        return known["id"]


def add_rater(
    transaction: Transaction,
    name: str,
    role: str,
    account: str | None = None,
    cohort: str = "",
    rater: str = "",
    secret: str | None = None,
) -> str:
    """``account``: how the rater is found again; ``secret``: a hashed password; ``rater``: an id, made if empty."""
    rater = rater or "r" + uuid.uuid4().hex[:16]
    transaction.record("rater.joined", rater=rater, name=name, role=role, account=account, cohort=cohort, secret=secret)
    return rater


def _display_name(name: Any) -> str:
    text = " ".join(name.split()) if isinstance(name, str) else ""
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable():
        raise EmotionOmniError(f"Please give a name or nickname of 1 to {LONGEST_NAME} characters.", "bad-name")
    return text


def account_of(name: Any) -> str:
    """The same for a name however it is spaced and capitalized."""
    return f"local:{' '.join(str(name).split()).casefold()}"[:120]
