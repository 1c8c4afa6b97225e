"""The data pipeline: a plan → a corpus of spoken emotional dialogues (see README.md)."""
