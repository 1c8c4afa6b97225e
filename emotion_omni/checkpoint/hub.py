"""The Hugging Face hub: its client, the token, and its errors in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.layout import REPO
from emotion_omni.types import EmotionOmniError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 10.0  # seconds, for what a repository holds


def client(endpoint: str | None) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token() or False)  # False: never the token of a login on this computer


def token() -> str | None:
    return os.environ.get("HF_TOKEN", "").strip() or None


def check_repo(repo: str) -> None:
    if not REPO.fullmatch(repo):
        raise broken(f"{repo[:80]!r} is not a repository of the hub. Use owner and name: 'me/omni-small'.")


def repo_of(name: str) -> str | None:
    """The repository of ``id@revision``; None for our parts, hashes, folders and ids of ModelScope (``iic/``)."""
    repo = name.partition("@")[0]
    return repo if REPO.fullmatch(repo) and not repo.startswith("iic/") and not Path(name).is_dir() else None


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Whatever the hub's client raises becomes one error, whose message does not hold the token.

    Code ``network`` where there was no answer, ``hub`` for an answer that is a refusal or makes no sense.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    # HTTP and network (HTTPError, OSError), uploads (RuntimeError), unreadable names and answers (ValueError, KeyError)
    except (HTTPError, OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        reason = reason.replace(token() or "\0", "[token]")
        no_answer = isinstance(error, (HTTPError, OSError)) and not isinstance(error, HfHubHTTPError)
        message = (
            f"The repository {repo} cannot be used now ({reason[:300]}). Check the name, the network and HF_TOKEN."
        )
        raise EmotionOmniError(message, "network" if no_answer else "hub") from None
