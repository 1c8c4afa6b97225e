"""Attacks on the studio: ``python -m annotation attack`` starts the app on an empty home and tries them all."""
