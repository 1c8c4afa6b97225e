"""An invite: a signed link for one person. Opened again, also in another browser, it leads to the same rater.

The salt of its signature never changes: that would break all links that were sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation.people.accounts import add_rater
from annotation.people.roles import check_role
from annotation.store.store import Store
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

INVITE_SECONDS = 90 * 86_400


class Invites:
    def __init__(self, key: bytes, store: Store) -> None:
        self._serializer, self._store = URLSafeTimedSerializer(key, salt="invite"), store

    def create(self, role: str = "rater", study: str | None = None, cohort: str = "", name: str = "") -> str:
        """A signed token. ``study``: where the person is enrolled when the link is opened."""
        check_role(role)
        facts = {"id": uuid.uuid4().hex, "role": role, "study": study, "cohort": cohort, "name": name}
        return self._serializer.dumps(facts)

    def read(self, token: Any) -> dict[str, Any]:
        """What an invite says: id, role, study, cohort, name."""
        try:
            return self._serializer.loads(str(token), max_age=INVITE_SECONDS)
        except BadSignature:
            raise EmotionOmniError(
                "This link is not valid, or is older than 90 days. Ask for a new one.", "sign-in"
            ) from None

    def accept(self, token: Any) -> str:
        """The rater of an invite, added when it is opened for the first time."""
        invite = self.read(token)
        return self._store.write(lambda transaction: _accept(transaction, invite))


def _accept(transaction: Transaction, invite: Mapping[str, Any]) -> str:
    short, study = invite["id"][:16], invite["study"]
    rater = f"r{short}"
    if transaction.rater(rater) is None:
        name = invite["name"] or "Invited rater"
        add_rater(transaction, name, invite["role"], f"link:{short}", invite["cohort"], rater=rater)
    if study and transaction.study(study) and transaction.enrolment(study, rater) is None:
        transaction.record("enrolled", study=study, rater=rater)
    return rater
