"""What people may do. Each role may do what the roles before it may."""

from __future__ import annotations

from annotation.store.tables import Row
from emotion_omni.types import EmotionOmniError

ROLES = ("rater", "researcher", "admin")


def require_role(person: Row, role: str) -> Row:
    """The person, or the error ``forbidden`` if their role is too low."""
    if ROLES.index(person["role"]) < ROLES.index(role):
        raise EmotionOmniError(
            f"This needs the role {role}; yours is {person['role']}. Ask an admin of this studio.", "forbidden"
        )
    return person


def check_role(role: str) -> None:
    if role not in ROLES:
        raise EmotionOmniError(f"{role!r} is not a role. Choose one of {', '.join(ROLES)}.", "bad-role")
