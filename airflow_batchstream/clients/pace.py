"""How fast a host may be asked: a rate that gives way where the host asks for fewer requests. Part of :mod:`.hosts`.

All images of a call share it, so that a quota is used up evenly instead of being run against by each. Pure: the time
is an argument, in seconds of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_SPELL = 300.0
"""Seconds that a host may go on asking for fewer requests; then it is given up, even if it answers some."""
QUOTA = 65.0
"""Seconds after which a quota that is used up is there again: Google counts by the minute."""
_SPELL_ENDS = 30.0
"""Seconds without such an answer, after which the next begins another spell."""
_TOGETHER = 0.5
"""Seconds in which several such answers count as one: their requests were on the way together."""
_SLOWER, _FASTER = 2.0, 0.95
_LEAST, _MOST = 0.05, 1.0
"""Seconds between the starts of two requests, at least where there is a pace, and at most."""


@dataclass(slots=True)
class Pace:
    """The pace of one host. There is none until it asks for fewer requests.

    :param between: seconds between the starts of two requests.
    :param not_before: when the pause ends that the host has asked for.
    """

    between: float = 0.0
    not_before: float = 0.0
    _began: float = 0.0
    _slowed: float = float("-inf")
    _spell: float = 0.0
    _last: float = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next request may start; zero or less if it may."""
        return max(self.not_before, self._began + self.between if self.between else 0.0) - now

    def began(self, now: float) -> None:
        """A request starts."""
        self._began = now

    def answered(self) -> None:
        """A request was answered as it should be: the next may come a little sooner."""
        self.between *= _FASTER
        if self.between < _LEAST / 5:
            self.between = 0.0

    def fewer(self, now: float, pause: float) -> bool:
        """The host asks for fewer requests; whether that is news, and not said to several at once.

        :param pause: seconds that it wants to be left alone; 0 where it does not say.
        """
        if now - self._last > _SPELL_ENDS:
            self._spell = now
        self._last = now
        self.not_before = max(self.not_before, now + pause)
        if now - self._slowed < max(_TOGETHER, pause):
            return False
        self.between, self._slowed = min(max(self.between * _SLOWER, _LEAST), _MOST), now
        return True

    def too_long(self, now: float) -> bool:
        """Whether it has asked for fewer requests for longer than is borne."""
        return now - self._spell > LONGEST_SPELL and now - self._last <= _SPELL_ENDS


@dataclass(slots=True)
class Record:
    """What came of asking a host for one kind of thing.

    :param answered: when it last gave an answer that helps.
    :param refusals: how often it has asked for fewer requests since.
    """

    answered: float = float("-inf")
    refusals: int = 0

    def good(self, now: float) -> None:
        """An answer that helps."""
        self.answered, self.refusals = now, 0

    def lately(self, now: float) -> bool:
        """Whether one came within the time of a quota: what asks for fewer requests may then be waited out."""
        return now - self.answered <= QUOTA

    def hopeless(self, now: float, pace: Pace, tries: int) -> bool:
        """Whether the host is not asked any more: it has asked for fewer requests too often, or for too long."""
        return pace.too_long(now) or (self.refusals >= tries and not self.lately(now))
