"""The tables of the database. Their names and columns are data on people's disks: a change is a migration."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text

Row = dict[str, Any]
TASK_KINDS = ("rate", "trap", "gold", "repeat")  # of assignments in the task; sound check and training come before it

metadata = MetaData()
meta = Table(
    "meta", metadata, Column("name", String(40), primary_key=True), Column("value", BigInteger, nullable=False)
)
studies = Table(
    "studies",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("state", String(12), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("owner", String(40)),
    Column("created", Float, nullable=False),
)
items = Table(
    "items",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("role", String(12), nullable=False),
    Column("family", String(80), nullable=False),
    Column("content", JSON, nullable=False),
    Column("expected", JSON),
    Column("contributor", String(40)),
    Column("shuffle", Float, nullable=False),
    Column("claimed", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("flipped", Integer, nullable=False),
    Column("disagreement", Float, nullable=False),
    Index("items_next", "study", "role", "claimed", "shuffle"),
    Index("items_contributor", "contributor"),
)
raters = Table(
    "raters",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("account", String(120), unique=True),
    Column("secret", String(200)),
    Column("role", String(12), nullable=False),
    Column("cohort", String(80), nullable=False),
    Column("created", Float, nullable=False),
)
enrolments = Table(
    "enrolments",
    metadata,
    Column("study", String(40), primary_key=True),
    Column("rater", String(40), primary_key=True),
    Column("phase", String(16), nullable=False),
    Column("block", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("block_began", Float),
    Column("done", Integer, nullable=False),
    Column("trained", Integer, nullable=False),
    Column("answers", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Index("enrolments_rater", "rater"),
)
assignments = Table(
    "assignments",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("rater", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("family", String(80), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("block", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("flip", Integer, nullable=False),
    Column("guess", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("created", Float, nullable=False),
    Index("assignments_rater", "study", "rater", "family"),
    Index("assignments_open", "study", "rater", "state"),
    Index("assignments_lease", "state", "leased_until"),
    Index("assignments_item", "item"),
)
ratings = Table(
    "ratings",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("assignment", String(40), nullable=False, unique=True),
    Column("study", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("rater", String(40), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("answers", JSON, nullable=False),
    Column("right", Integer),
    Column("heard", JSON, nullable=False),
    Column("seconds", Float),
    Column("clicks", JSON),
    Column("at", Float, nullable=False),
    Index("ratings_item", "item"),
    Index("ratings_rater", "study", "rater"),
)
decisions = Table(
    "decisions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("subject", String(8), nullable=False),
    Column("item", String(40)),
    Column("rater", String(40)),
    Column("scale", String(40)),
    Column("value", JSON),
    Column("reason", String(400), nullable=False),
    Column("by", String(40), nullable=False),
    Column("at", Float, nullable=False),
    Index("decisions_study", "study"),
)
skips = Table(
    "skips",
    metadata,
    Column("assignment", String(40), primary_key=True),
    Column("study", String(40), nullable=False),
    Column("item", String(40), nullable=False),
    Column("rater", String(40), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("reason", String(20), nullable=False),
    Column("at", Float, nullable=False),
    Index("skips_study", "study", "rater"),
    Index("skips_item", "item"),
)
invites = Table(
    "invites",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("rater", String(40), nullable=False),  # whom the link signs in; added when it is opened for the first time
    Column("role", String(12), nullable=False),
    Column("study", String(40)),
    Column("cohort", String(80), nullable=False),
    Column("name", String(120), nullable=False),
    Column("by", String(40)),
    Column("uses", Integer, nullable=False),  # how often it may be opened
    Column("used", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("revoked", Float),
    Index("invites_rater", "rater"),
)
locks = Table(
    "locks",
    metadata,
    Column("id", String(32), primary_key=True),  # hash of kind and value
    Column("kind", String(12), nullable=False),
    Column("value", Text, nullable=False),
)
logins = Table(
    "logins",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("rater", String(40), nullable=False),
    Column("how", String(20), nullable=False),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
    Index("logins_rater", "rater"),
)
