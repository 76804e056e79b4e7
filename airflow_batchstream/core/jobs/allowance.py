"""How many reads of a project's logs may be spent, and when.

Cloud Logging allows some 60 reads a minute a project, to all who read it together. Nobody tells a reader its share: it
is found by halving at each refusal and growing back over ten minutes, so that several triggerers find theirs.
"""

from __future__ import annotations

_REGAIN_SECONDS = 600.0
_LEAST_SHARE = 0.1
_KEPT = 0.6
"""Of the bucket, left to those who wait."""
_PAUSE = 5.0
_PAUSE_SPREAD = 10.0


class Allowance:
    """A bucket of reads that fills at a steady rate.

    :param per_minute: reads a minute, at most.
    :param burst: most reads that may be saved up.
    """

    def __init__(self, per_minute: float, now: float, burst: float = 5.0) -> None:
        self.limit = self.rate = per_minute
        self.burst = self.level = burst
        self._filled_at = self._closed_until = now

    @property
    def per_second(self) -> float:
        """Reads a second, at the rate found so far."""
        return self.rate / 60

    def take(self, now: float) -> bool:
        """Spend one read, if there is one."""
        self._fill(now)
        if now < self._closed_until or self.level < 1:
            return False
        self.level -= 1
        return True

    def spare(self, now: float) -> bool:
        """Spend one read that nobody waits for: only while most of the bucket is full, so that lines come first."""
        self._fill(now)
        return self.level > self.burst * _KEPT and self.take(now)

    def give_back(self) -> None:
        """A read that was taken and not spent."""
        self.level = min(self.burst, self.level + 1)

    def throttled(self, now: float, rnd: float, retry_after: float | None = None) -> None:
        """Cloud Logging refused a read: half the rate, and a pause.

        :param rnd: evenly spread over [0, 1): with it, many readers do not come back at once.
        :param retry_after: seconds that the server asked to wait.
        """
        self._fill(now)
        self.rate = max(self.rate / 2, self.limit * _LEAST_SHARE)
        self.level = 0.0
        self._closed_until = now + max(_PAUSE + _PAUSE_SPREAD * rnd, min(retry_after or 0.0, 120.0))

    def _fill(self, now: float) -> None:
        passed = now - self._filled_at
        if passed > 0:
            self.level = min(self.burst, self.level + passed * self.per_second)
            self.rate = min(self.limit, self.rate + passed * self.limit / _REGAIN_SECONDS)
            self._filled_at = now
