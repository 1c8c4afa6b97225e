"""What a study holds besides its ordinary items: its checks, the guesses of its items, how many of what."""

from __future__ import annotations

from collections.abc import Callable

from annotation.store.queries import View

CACHED_SECONDS = 5.0
SAMPLED_ITEMS = 20  # of a study: they tell whether its items come with a model's guess


class Catalog:
    def __init__(self, view: View, study: str) -> None:
        self.families = view.count_families(study)
        self.checks = {kind: view.items(study, kind) for kind in ("sound", "training", "trap", "gold")}
        counts = view.counts(study)
        self.items, self.done = counts["items"], counts["done"]  # ordinary items, ratings of them
        sample = view.items(study, "rate", limit=SAMPLED_ITEMS)
        self.guesses = [item["content"]["guess"] for item in sample if "guess" in item["content"]]


class Catalogs:
    """The catalogs of all studies, each read at most once in five seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._cached: dict[str, tuple[float, Catalog]] = {}  # study → when it expires, its catalog

    def get(self, view: View, study: str) -> Catalog:
        expires, catalog = self._cached.get(study, (0.0, None))
        if catalog is None or expires < self._now():
            catalog = Catalog(view, study)
            self._cached[study] = (self._now() + CACHED_SECONDS, catalog)
        return catalog
