"""An invite: a signed link for one person. Opened again, also in another browser, it leads to the same rater.

A link names a row of the store, which knows how often it may still be opened, until when, and whether it was revoked.
Links of releases before 0.2 say everything themselves; those of raters get their row when they are opened.
The salt of the signature never changes: that would break all links that were sent.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation.people.accounts import add_rater
from annotation.people.roles import ROLES, check_role
from annotation.store.queries import View
from annotation.store.store import Store
from annotation.store.tables import Row
from annotation.store.transaction import Transaction
from emotion_omni.types import EmotionOmniError

DAY = 86_400
INVITE_SECONDS = 90 * DAY
USES = {"rater": 5, "researcher": 1, "admin": 1}  # how often a link may be opened
SECONDS = {"rater": INVITE_SECONDS, "researcher": 7 * DAY, "admin": 7 * DAY}
MACHINE = "machine:admin"  # the account of whoever reads the terminal; ``by`` of the links that are printed there
LINK, SHORT = "link:", 16  # the account of an invited rater: this, and the first digits of the invite's id
NOT_VALID = "This link is not valid, or is older than 90 days. Ask for a new one."


class Invites:
    def __init__(self, key: bytes, store: Store) -> None:
        self._serializer, self._store = URLSafeTimedSerializer(key, salt="invite"), store

    def create(
        self, role: str = "rater", study: str | None = None, cohort: str = "", name: str = "", by: str | None = None
    ) -> str:
        """A signed token. ``study``: where the person is enrolled when the link is opened; ``by``: who invites."""
        check_role(role)
        facts: dict[str, Any] = {"role": role, "study": study, "cohort": cohort, "name": name, "by": by}
        return self._token(self._store.write(lambda transaction: _create(transaction, SECONDS[role], **facts)))

    def create_for_machine(self) -> str:
        """The link that is printed at a start: for an admin, once, within a day. Unused ones of earlier starts end."""

        def create(transaction: Transaction) -> str:
            for row in transaction.invites():
                if row["by"] == MACHINE and not row["used"]:
                    _revoke(transaction, row)
            known = transaction.account(MACHINE)
            facts: dict[str, Any] = {
                "role": "admin",
                "study": None,
                "cohort": "",
                "name": "Admin of this machine",
                "by": MACHINE,
            }
            return _create(transaction, DAY, known["id"] if known else "", **facts)

        return self._token(self._store.write(create))

    def _token(self, invite: str) -> str:
        return self._serializer.dumps({"invite": invite})

    # -- opening

    def read(self, token: Any) -> Row:
        """The row of an invite that may be opened: id, rater, role, study, cohort, name."""
        found = self._content(token)
        with self._store.read() as view:
            row = view.invite(_id(found)) or self._of_earlier_release(view, found)
        _refuse_closed(row)
        return row

    def accept(self, token: Any) -> str:
        """The rater of an invite, added when it is opened for the first time."""
        invite = self.read(token)
        return self._store.write(lambda transaction: _accept(transaction, invite))

    def revoke(self, invite: str) -> None:
        def revoke(transaction: Transaction) -> None:
            row = transaction.invite(invite)
            if row is None:
                raise EmotionOmniError("There is no such invite any more.", "not-found")
            _revoke(transaction, row)

        self._store.write(revoke)

    def revoke_all(self, rater: str) -> None:
        """End the links that lead to a rater."""

        def revoke(transaction: Transaction) -> None:
            known, rows = transaction.rater(rater), transaction.invites(rater)
            if not rows and known and (known["account"] or "").startswith(LINK):  # by a link of an earlier release
                rows = [_used_up(transaction, known)]
            for row in rows:
                _revoke(transaction, row)

        self._store.write(revoke)

    def _content(self, token: Any) -> dict[str, Any]:
        """What is signed; ``issued``: when."""
        try:
            content, issued = self._serializer.loads(str(token), max_age=INVITE_SECONDS, return_timestamp=True)
        except BadSignature:
            raise EmotionOmniError(NOT_VALID, "sign-in") from None
        return content | {"issued": issued.timestamp()}

    def _of_earlier_release(self, view: View, content: Mapping[str, Any]) -> Row:
        """The row that a link of an earlier release gets. It opens nothing for a researcher or for who was erased."""
        if "role" not in content:
            raise EmotionOmniError(NOT_VALID, "sign-in")
        if content["role"] != "rater":
            message = "Links of an earlier release sign in raters only. Ask an admin of this studio for a new link."
            raise EmotionOmniError(message, "sign-in")
        rater = _rater_of(content["id"])
        if view.rater(rater) is None and self._was_erased(rater):
            raise EmotionOmniError("Who opened this link has withdrawn. Ask for a new one.", "sign-in")
        row = {name: content[name] for name in ("role", "study", "cohort", "name")}
        row |= {"id": _id(content), "rater": rater, "by": None, "uses": USES["rater"], "used": 0, "revoked": None}
        return row | {"expires": content["issued"] + INVITE_SECONDS}

    def _was_erased(self, rater: str) -> bool:
        """What is left of a rater who has withdrawn, or who was in a deleted study only, is one line of the log."""
        log = self._store.log
        return any(log.has_line_with(f'"{event}"', f'"{rater}"') for event in ("rater.withdrawn", "study.deleted"))


def _create(transaction: Transaction, seconds: int, rater: str = "", **facts: Any) -> str:
    invite = uuid.uuid4().hex
    uses, expires = USES[facts["role"]], time.time() + seconds
    facts |= {"rater": rater or _rater_of(invite), "uses": uses, "expires": expires}
    transaction.record("invite.created", invite=invite, **facts)
    return invite


def _accept(transaction: Transaction, invite: Row) -> str:
    """Counted in the same transaction, so that two browsers cannot share the last use."""
    row = transaction.invite(invite["id"])
    if row is None and "created" not in invite:  # of an earlier release, opened for the first time since
        names = ("rater", "role", "study", "cohort", "name", "by", "uses", "expires")
        transaction.record("invite.created", invite=invite["id"], **{name: invite[name] for name in names})
        row = transaction.invite(invite["id"])
    _refuse_closed(row)
    _refuse_from_lower(transaction, invite)
    rater, study = invite["rater"], invite["study"]
    transaction.record("invite.used", invite=invite["id"], rater=rater)
    if transaction.rater(rater) is None:
        account = MACHINE if invite["by"] == MACHINE else LINK + invite["id"][:SHORT]
        name = invite["name"] or "Invited rater"
        add_rater(transaction, name, invite["role"], account, invite["cohort"], rater=rater)
    if study and transaction.study(study) and transaction.enrolment(study, rater) is None:
        transaction.record("enrolled", study=study, rater=rater)
    return rater


def _used_up(transaction: Transaction, rater: Row) -> Row:
    """The row of a link that was never opened since links have rows."""
    facts = {name: rater[name] for name in ("role", "cohort", "name")} | {"study": None, "by": None}
    invite = rater["account"].removeprefix(LINK)
    transaction.record("invite.created", invite=invite, rater=rater["id"], uses=0, expires=time.time(), **facts)
    row = transaction.invite(invite)
    assert row is not None
    return row


def _revoke(transaction: Transaction, row: Row) -> None:
    if row["revoked"] is None:
        transaction.record("invite.revoked", invite=row["id"], rater=row["rater"])


def _refuse_closed(row: Row | None) -> None:
    if row is None or row["expires"] < time.time():
        raise EmotionOmniError(NOT_VALID, "sign-in")
    if row["revoked"] is not None:
        raise EmotionOmniError("This link was revoked. Ask for a new one.", "sign-in")
    if row["used"] >= row["uses"]:
        raise EmotionOmniError("This link has been used up. Ask for a new one.", "sign-in")


def _refuse_from_lower(transaction: Transaction, invite: Row) -> None:
    """Who was erased or has lost their role brings nobody in again as a researcher, themselves included."""
    if invite["role"] == "rater" or invite["by"] in (None, MACHINE):
        return
    inviter = transaction.rater(invite["by"])
    if inviter is None or ROLES.index(inviter["role"]) < ROLES.index(invite["role"]):
        raise EmotionOmniError("Who made this link may not make such links any more. Ask for a new one.", "sign-in")


def _id(content: Mapping[str, Any]) -> str:
    """Of an earlier release only the part that its rater's id and account have, so that they lead to the row."""
    return content["invite"] if "invite" in content else str(content.get("id"))[:SHORT]


def _rater_of(invite: str) -> str:
    return "r" + invite[:SHORT]
