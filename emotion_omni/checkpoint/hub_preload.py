"""What a Space downloads ahead: the base models of a configuration, at their commits."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from pathlib import Path

from emotion_omni import weights
from emotion_omni.checkpoint import hub
from emotion_omni.checkpoint.errors import broken
from emotion_omni.checkpoint.folder import check
from emotion_omni.checkpoint.hub_pull import origin
from emotion_omni.checkpoint.layout import ABOUT
from emotion_omni.omni.config import OmniConfig

log = logging.getLogger(__name__)

NETWORK = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
)
LANGUAGE_MODEL = (
    *NETWORK,
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)
EMOTION2VEC = ("config.yaml", "configuration.json", "*.pt")


def preload(config: OmniConfig, folder: str | Path | None = None, endpoint: str | None = None) -> list[str]:
    """The lines that a Space needs under ``preload_from_hub`` in its README: ``repo file,file commit``.

    Encoders, language model and, for the paper's voice, CosyVoice2; with ``folder`` also that checkpoint, if it was
    pulled. Models from elsewhere (ModelScope, a folder, a package) are not included. Raises
    :class:`EmotionOmniError` (codes ``hub``, ``network``, ``checkpoint``).
    """
    emotion = EMOTION2VEC if "emotion2vec" in config.emotion.name.lower() else NETWORK
    models: list[tuple[str, tuple[str, ...], str]] = [
        (config.semantic.name, NETWORK, "whisper-base/"),
        (config.emotion.name, emotion, "whisper-base/"),
        (config.language_model.name, LANGUAGE_MODEL, "smollm2/"),
    ]
    if config.voice == "cosyvoice2":
        from emotion_omni.synthesis import cosyvoice2_convert  # imports torch

        source = f"{cosyvoice2_convert.SOURCE}@{cosyvoice2_convert.REVISION}"
        models.append((source, tuple(cosyvoice2_convert.FILES), ""))
    lines = [line for name, patterns, ours in models for line in _lines(name, patterns, ours, endpoint)]
    pulled = origin(folder) if folder is not None else None
    if folder is not None and pulled:
        lines = [_line(pulled["repo"], [*check(folder)[0].files, ABOUT], pulled["commit"]), *lines]
    return list(dict.fromkeys(lines))


def _lines(name: str, patterns: tuple[str, ...], ours: str, endpoint: str | None) -> list[str]:
    """``ours``: where a model called ``embedded`` is among the package's own weights."""
    if name == "embedded":
        return _embedded_lines(ours)
    repo = hub.repo_of(name)
    if not repo:
        if name != "random":
            log.warning("%s is not on the hub and cannot be downloaded ahead.", name)
        return []
    with hub.explained(repo):
        revision = name.partition("@")[2] or None
        info = hub.client(endpoint).model_info(repo, revision=revision, timeout=hub.TIMEOUT)
    names = [each.rfilename for each in info.siblings or []]
    found = sorted(each for each in names if any(fnmatchcase(each, pattern) for pattern in patterns))
    if not found:
        raise broken(f"{name!r} on the hub has none of {', '.join(patterns)}. Name a repository with such files.")
    return [_line(repo, found, info.sha or "")]


def _embedded_lines(folder: str) -> list[str]:
    sources = [
        source
        for file in weights.FILES
        if file.name.startswith(folder) and not file.optional
        for source in file.sources
    ]
    files = [source for source in sources if isinstance(source, weights.Hub)]
    repos = dict.fromkeys((file.repo, file.revision) for file in files)
    return [_line(repo, [file.path for file in files if file.repo == repo], commit) for repo, commit in repos]


def _line(repo: str, files: list[str], commit: str) -> str:
    return f"{repo} {','.join(files)} {commit}".rstrip()
