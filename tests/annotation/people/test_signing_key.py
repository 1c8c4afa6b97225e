"""The key that signs logins and invites."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from sign_in import refused

from annotation.people.signing_key import signing_key

pytest_plugins = ("databases",)


def test_the_signing_key_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret = signing_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert len(secret) >= 32 and signing_key(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_signing_key_that_is_too_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_SECRET", "x" * 15)
    assert "16 characters" in refused("bad-setting", signing_key, tmp_path)
    monkeypatch.setenv("STUDIO_SECRET", "x" * 16)
    assert signing_key(tmp_path) == b"x" * 16
    assert not (tmp_path / "secret").exists()
