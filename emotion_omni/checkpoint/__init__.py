"""Checkpoints of the end-to-end model: folders that are whole or not there, and their exchange with the hub.

A checkpoint is a folder of five files: ``config.json`` (:class:`~emotion_omni.omni.config.OmniConfig`),
``understand.safetensors`` (adapters, LoRA, emotion head, prototypes), after stage 2 ``speak.safetensors`` (the
speech decoder), ``about.json`` (:class:`About`) and ``README.md``, the model card. Frozen weights are not in it:
``config.json`` names them. A save that is killed at any point leaves the previous checkpoint or the new one, whole.

Checkpoints of single parts of a cascade are simpler: weight files with a ``lineage.json`` (:mod:`.lineage`), promoted
to a name that menus show (:mod:`.promotion`).

Imports no torch, because a menu lists checkpoints without it. Own and pulled checkpoints are in ``checkpoints`` under
``EMOTION_OMNI_HOME`` (default ``./studio-data``).
"""

from emotion_omni.checkpoint.about import About, Data, Stored, base_models
from emotion_omni.checkpoint.folder import Listed, Trained, check, home, listed, read_about, save
from emotion_omni.checkpoint.hub_preload import preload
from emotion_omni.checkpoint.hub_pull import origin, pull
from emotion_omni.checkpoint.hub_push import push
from emotion_omni.checkpoint.layout import ABOUT, BEST, CARD, CONFIG, FILES, ORIGIN, TENSORS
from emotion_omni.checkpoint.model_card import card
from emotion_omni.checkpoint.source import find, identity, load

__all__ = [
    "ABOUT",
    "BEST",
    "CARD",
    "CONFIG",
    "FILES",
    "ORIGIN",
    "TENSORS",
    "About",
    "Data",
    "Listed",
    "Stored",
    "Trained",
    "base_models",
    "card",
    "check",
    "find",
    "home",
    "identity",
    "listed",
    "load",
    "origin",
    "preload",
    "pull",
    "push",
    "read_about",
    "save",
]
