"""How many requests a user may make (Contract: rest-v1 §1.6)."""

from __future__ import annotations

import math
import time

from msgspec.structs import asdict

from firecrest.api.http.endpoint import Reply
from firecrest.config.settings import RateLimit

_MAX_BUCKETS = 10_000


class RateLimits:
    """A bucket per user and service: so many requests at once, and so many a second.

    :param settings: the requests a second; a bucket holds those of ``burst`` seconds
    """

    def __init__(self, settings: RateLimit) -> None:
        self._rates: dict[str, float] = asdict(settings.per_service) if settings.enabled else {}
        self._burst = settings.burst
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def refusal(self, user: str, path: str) -> Reply | None:
        """The answer to a request too many, None to one that is let in."""
        service = path.lstrip("/").partition("/")[0]
        rate = self._rates.get(service)
        if rate is None:
            return None
        now, size = time.monotonic(), max(1.0, rate * self._burst)
        left, since = self._buckets.get((user, service), (size, now))
        left = min(size, left + (now - since) * rate)
        if left >= 1:
            self._forget(now)
            self._buckets[user, service] = (left - 1, now)
            return None
        wait = math.ceil((1 - left) / rate)
        headers = {
            "Retry-After": str(wait),
            "RateLimit-Limit": str(int(size)),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(wait),
        }
        return Reply(429, {"message": "API rate limit exceeded"}, headers)

    def _forget(self, now: float) -> None:
        """Drop buckets that have filled up meanwhile; they are as good as new ones."""
        if len(self._buckets) >= _MAX_BUCKETS:
            old = now - self._burst
            self._buckets = {key: b for key, b in self._buckets.items() if b[1] > old}
