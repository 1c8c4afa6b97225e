"""Tiny dialogues to train on."""

from tiny_training import distinct_tokens, small_codec, sounds, trained  # noqa: F401 (fixtures)
