"""Which log entries to read next, and which of those read are new.

Pure: time is an argument, the hub does the reading::

    add(uid) -> next_read(now) -> [entries.list] -> on_page(...) -> new lines ... ended(uid, at) ... settled()
                               -> [it failed]    -> on_error(...)

The axis is the time at which Cloud Logging *received* an entry. An entry may be old when it is received (a slow agent),
which costs nothing here. It may become *findable* up to ``visible`` seconds after that: the one assumption.

A *pass* is one chain of pages over some jobs: received at ``since`` or later (and before ``until``). What was findable
when it started is in it; so afterwards ``since`` moves to the pass's **start** less ``visible``, and no further. (The
newest entry seen less ``visible`` would be wrong: a long pass meets entries younger than its first pages could hold.)
What lies after ``since`` is read again, and known by ``seen``. Invariants:

- An entry received before ``since`` was shown; one in ``seen`` was shown; every other one is shown when it is read.
- ``since`` only advances, and only when a pass has ended.
- No rate and no estimate decides *whether* a line is shown, only when.

Reading again is free for quiet jobs: it fits the page they share. The noisiest jobs, if the allowance is too small to
read them twice, are read *late*, up to ``visible`` seconds ago, where nothing needs reading twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_batchstream.core.jobs.allowance import Allowance
from airflow_batchstream.core.jobs.log_filter import UID_CHARS, entries_filter, key
from airflow_batchstream.core.jobs.model import Line, Trouble
from airflow_batchstream.core.jobs.patience import backoff
from airflow_batchstream.core.jobs.read_settings import ReadSettings, for_endpoint
from airflow_batchstream.core.jobs.times import NS, ns, span

__all__ = ["Allowance", "Pass", "ReadPlan", "ReadSettings", "entries_filter", "for_endpoint", "key"]

_BEFORE_CREATED = 60.0
"""Seconds before a job's creation that its log is looked for: clocks differ."""

_CHAINS = 4
"""Most chains of pages under way at a time, of either kind: each ends the sooner."""

_BLIPS = 4
"""Failures in a row from which on a reader is worth a word."""

_LAG_WORTH_SAYING = 30.0
_WHY_LATE = "Cloud Logging limits how much of a project's logs can be read a minute; none is lost."

_QUIET_RATE = 0.1
"""Lines a second below which a job is served before all louder ones."""


@dataclass(slots=True)
class _Log:
    """What is known of one job's log.

    :param since_ns: all that was received before was shown.
    :param due: when it is to be read next.
    :param seen: entries shown and not yet covered by ``since_ns``, with the time they were received.
    :param rate: lines a second, as measured; it decides the order of reading only.
    :param read: lines in the pass under way, and ``fresh`` the new ones among them.
    :param quiet: passes in a row, up to the present, without a new line.
    :param settle: see :class:`ReadSettings`; chosen when the job ends.
    :param late: whether it is read ``visible`` seconds behind.
    :param passed: the time up to which it was read at least once.
    :param held: whether who shows its lines is behind: it is read no further until then.
    :param failing_since: since when its reads have done nothing but fail.
    """

    uid: str
    created: float
    since_ns: int
    due: float
    seen: dict[int, int] = field(default_factory=dict)
    rate: float = 0.0
    read: int = 0
    fresh: int = 0
    quiet: int = 0
    ended: float | None = None
    settle: tuple[int, float] | None = None
    reading: bool = False
    held: bool = False
    late: bool = False
    passed: float | None = None
    failing_since: float | None = None
    warned: bool = False
    lag_told: float = 0.0


@dataclass(slots=True)
class Pass:
    """One chain of pages. The hub asks for its next page and hands it back.

    :param start: when the chain began; what was findable then is in it.
    :param since_ns: lower bound of the time of receipt.
    :param floor_ns: lower bound of the entries' own time.
    :param until_ns: upper bound of the time of receipt, not included; None for none.
    :param token: of the next page; empty for the first.
    :param last_ns: the own time of the last entry read: the chain can go on from there without its token.
    :param not_before: after a failure, when to try again.
    """

    jobs: list[_Log]
    start: float
    since_ns: int
    floor_ns: int
    until_ns: int | None = None
    token: str = ""
    pages: int = 0
    last_ns: int = 0
    errors: int = 0
    not_before: float = 0.0

    @property
    def uids(self) -> list[str]:
        """The jobs whose entries are asked for."""
        return [job.uid for job in self.jobs]

    def filter(self, project_id: str, severity: str = "") -> str:
        """The filter to ask with; see :func:`entries_filter`."""
        return entries_filter(project_id, self.uids, self.floor_ns, self.since_ns, self.until_ns, severity)

    def go_on_without_token(self) -> None:
        """Another filter, or a lost token: all up to ``last_ns`` is read; its equals are read again and known."""
        self.token, self.floor_ns, self.pages = "", max(self.floor_ns, self.last_ns), 0


class ReadPlan:
    """The reads of all logs that one project's quota pays for.

    :param settings: the bounds and costs.
    :param allowance: shared with other plans of the same project, if there are any.
    """

    def __init__(self, settings: ReadSettings, now: float, allowance: Allowance | None = None) -> None:
        self.settings = settings
        self.allowance = allowance or Allowance(settings.per_minute, now)
        self._logs: dict[str, _Log] = {}
        self._open: list[Pass] = []  # chains that wait for their next page
        self._rated_at = now
        self._pause = settings.interval
        self._late_share = 0.3  # of the reads, for logs read late
        self._owed = 0.0  # reads that late logs have coming

    # -- what the hub tells -------------------------------------------------------------------------------------------

    def add(self, uid: str, created: float, now: float) -> None:
        """Read a job's log from its creation on.

        :param created: the job's create time. Nothing older than a minute before it is looked for.
        """
        self._logs.setdefault(uid, _Log(uid, created, ns(created - _BEFORE_CREATED), now))

    def ended(self, uid: str, at: float, *, failed: bool = False) -> None:
        """The job has ended: read at once, and until the log is complete.

        :param at: when the end was *noticed*; never earlier than it was.
        :param failed: whether its last words deserve the longer patience.
        """
        log = self._logs.get(uid)
        if log is None or log.ended is not None:
            return
        log.ended, log.quiet, log.due = at, 0, min(log.due, at)
        log.settle = self.settings.settle_failed if failed else self.settings.settle

    def remove(self, uid: str) -> None:
        """Read it no more; a page of it that is under way is dropped when it comes."""
        self._logs.pop(uid, None)
        for chain in self._open:
            chain.jobs = self._wanted(chain)
        self._open = [chain for chain in self._open if chain.jobs]

    def hold(self, uid: str, held: bool) -> None:
        """Read this log no further while its lines are shown more slowly than they are read; others go on."""
        if uid in self._logs:
            self._logs[uid].held = held

    # -- what the hub asks --------------------------------------------------------------------------------------------

    def settled(self) -> list[str]:
        """Jobs that have ended and whose log is complete: certainly, by the bound, or very likely, by quiet passes."""
        return [log.uid for log in self._logs.values() if self._is_settled(log)]

    def unreadable(self, now: float) -> list[str]:
        """Jobs that have ended and whose log has done nothing but fail for so long that it is given up."""
        return [
            log.uid
            for log in self._logs.values()
            if log.ended is not None
            and log.failing_since is not None
            and now - log.failing_since >= self.settings.give_up
        ]

    def behind(self, uid: str, now: float) -> float:
        """Seconds since all lines of a job were shown; up to ``visible`` and a pause of it is usual."""
        log = self._logs.get(uid)
        return max(0.0, now - log.since_ns / NS) if log else 0.0

    def lag_news(self, now: float) -> list[tuple[str, str]]:
        """Jobs whose log lags unusually, with the words for it: said once, and again at each doubling.

        Not of a log that cannot be read: :meth:`on_error` has told that.
        """
        usual, news = max(2 * self.settings.visible, _LAG_WORTH_SAYING), []
        for log in self._logs.values():
            lag = self.behind(log.uid, now)
            if log.passed is not None and not log.warned and lag > max(usual, 2 * log.lag_told):
                log.lag_told = lag
                news.append((log.uid, f"This job's lines are shown up to {span(lag)} late. {_WHY_LATE}"))
        return news

    def next_read(self, now: float) -> Pass | None:
        """The chain whose next page is to be asked for.

        None if nothing is due or the allowance is spent: ask again within a second. What is returned must come back
        through :meth:`on_page` or :meth:`on_error`, whatever happens, else its jobs are never read again.
        """
        if not self.allowance.take(now):
            return None
        if now >= self._rated_at:
            self._rate(now)
        queue = self._queue(now)
        if not queue:
            self.allowance.give_back()
            return None
        self._open.remove(queue[0])  # it comes back at the end: open chains take turns page by page
        return queue[0]

    def on_page(self, done: Pass, lines: Iterable[Line], token: str, now: float) -> list[Line]:
        """Take in a page.

        :param lines: as Cloud Logging gave them, by their own time.
        :param token: of the next page; a page may be empty and carry one.
        :return: the new ones among them, in the page's order.
        """
        done.pages, done.token, done.errors, done.not_before = done.pages + 1, token, 0, 0.0
        done.jobs = self._wanted(done)
        wanted = {log.uid: log for log in done.jobs}
        new = []
        for line in lines:
            done.last_ns = line.at_ns
            log = wanted.get(line.uid)
            if log is not None and self._is_new(log, line):
                new.append(line)
        for log in done.jobs:
            if log.warned:  # what an outage held up was told as that, and not as a lag
                log.lag_told = max(log.lag_told, self.behind(log.uid, now))
            log.failing_since, log.warned = None, False
        if not token or not done.jobs:
            self._finish(done, now)
        else:
            self._go_on(done)
        return new

    def on_error(self, failed: Pass, trouble: Trouble, now: float, rnd: float) -> list[str]:
        """A read failed, however: the same page again, later.

        :return: jobs whose user should be told that their log cannot be read just now; each once until a read succeeds.
        """
        token_lost = trouble.code == "INVALID_ARGUMENT" and bool(failed.token)
        if token_lost:
            failed.go_on_without_token()  # tokens live for a day, and may be refused before
        elif trouble.code == "RESOURCE_EXHAUSTED":
            self.allowance.throttled(now, rnd, trouble.retry_after)
        failed.errors += 1
        failed.not_before = now + backoff(failed.errors, rnd, retry_after=trouble.retry_after)
        failed.jobs = self._wanted(failed)
        for log in failed.jobs:
            log.failing_since = now if log.failing_since is None else log.failing_since
        if failed.jobs:
            self._open.insert(0, failed)
        if token_lost or (trouble.transient and failed.errors < _BLIPS):
            return []
        told = [log for log in failed.jobs if not log.warned]
        for log in told:
            log.warned = True
        return [log.uid for log in told]

    # -- which page next ----------------------------------------------------------------------------------------------

    def _queue(self, now: float) -> list[Pass]:
        """Chains that may be asked for, the next first. Live and late ones share the reads; one is begun if needed."""
        ready = [p for p in self._open if p.not_before <= now and not all(log.held for log in p.jobs)]
        live = [p for p in ready if p.until_ns is None]
        late = [p for p in ready if p.until_ns is not None]
        calm, loud = self._due(now)
        self._owed = min(2.0, self._owed + self._late_share) if late or loud else 0.0
        if not (late or loud) or ((live or calm) and self._owed < 1):
            if not live or (calm and len(live) < _CHAINS):
                live += self._begin(calm, now, None)
            return live
        if not late or (loud and len(late) < _CHAINS):
            late += self._begin(loud, now, ns(now - self.settings.visible))
        self._owed -= 1
        return late

    def _due(self, now: float) -> tuple[list[_Log], list[_Log]]:
        """Logs to read now, live and late ones: quiet ones first, then those that are furthest behind."""
        due = [log for log in self._logs.values() if not log.reading and not log.held and log.due <= now]
        due.sort(key=lambda log: (log.rate > _QUIET_RATE, log.since_ns))
        worth_it = ns(now - self.settings.visible - self.settings.interval / 2)
        return [log for log in due if not log.late], [log for log in due if log.late and log.since_ns <= worth_it]

    def _begin(self, logs: Sequence[_Log], now: float, until_ns: int | None) -> list[Pass]:
        """A chain over as many logs as fit the filter and, by estimate, a page (or ``late_pages``)."""
        settings = self.settings
        upto_ns = ns(now) if until_ns is None else until_ns
        most = (0.8 if until_ns is None else settings.late_pages) * settings.page
        chosen: list[_Log] = []
        chars, lines = 0, 0.0
        for log in logs:
            chars += len(log.uid) + UID_CHARS
            lines += log.rate * (upto_ns - log.since_ns) / NS
            unlike = chosen and abs(log.since_ns - chosen[0].since_ns) > 2 * settings.visible * NS
            if chosen and (chars > settings.chars or lines > most or unlike):
                break
            chosen.append(log)
            log.reading, log.read, log.fresh = True, 0, 0
        if not chosen:
            return []
        since_ns = min(log.since_ns for log in chosen)
        rate = sum(log.rate for log in chosen)
        if until_ns is not None and rate:
            until_ns = min(
                until_ns, since_ns + ns(max(settings.interval / 2, settings.late_pages * settings.page / rate))
            )
        begun = Pass(chosen, now, since_ns, min(self._floor_ns(log) for log in chosen), until_ns)
        self._open.append(begun)
        return [begun]

    def _floor_ns(self, log: _Log) -> int:
        return max(ns(log.created - _BEFORE_CREATED), log.since_ns - ns(self.settings.late))

    def _rate(self, now: float) -> None:
        """Who is read late.

        A live log costs its lines twice at least, and more the shorter the interval. As long as that is affordable all
        are live, else the noisiest go late, where each line costs once.
        """
        settings, per_second = self.settings, self.allowance.per_second
        self._rated_at = now + settings.interval / 2
        filters = sum(len(uid) + UID_CHARS for uid in self._logs) / settings.chars
        self._pause = max(settings.interval, filters / (0.5 * per_second))
        logs = sorted(self._logs.values(), key=lambda log: log.rate * (1.5 if log.late else 1))  # no to and fro
        pages = [log.rate / settings.page for log in logs]
        spare = max(0.8 * per_second - sum(pages), 0.1 * per_second)  # the quietest are live whatever the load
        for log, cost in zip(logs, pages, strict=True):
            spare -= cost
            too_long = cost * (settings.visible + settings.interval) > settings.live_pages
            log.late = cost > 0 and (spare < 0 or too_long)
        late_pages = sum(log.rate for log in logs if log.late) / settings.page
        self._late_share = min(0.8, max(0.3, 1.2 * late_pages / per_second))

    # -- what a page means --------------------------------------------------------------------------------------------

    def _wanted(self, chain: Pass) -> list[_Log]:
        """The chain's logs that were not removed meanwhile."""
        return [log for log in chain.jobs if self._logs.get(log.uid) is log]

    @staticmethod
    def _is_new(log: _Log, line: Line) -> bool:
        if line.received_ns < log.since_ns:
            return False  # shown already
        log.read += 1
        known_as = key(line)
        if known_as in log.seen:
            return False  # read again
        log.seen[known_as] = line.received_ns
        log.fresh += 1
        return True

    def _go_on(self, chain: Pass) -> None:
        """The chain has more pages. A log that fills it goes on alone; an endless one stops chasing the present."""
        if chain.until_ns is None:
            loud = max(chain.jobs, key=lambda log: log.read)
            if len(chain.jobs) > 1 and 2 * loud.read >= self.settings.page * chain.pages:
                chain.jobs.remove(loud)
                chain.go_on_without_token()
                # With the start of the chain that it was part of: what was findable then was asked for.
                alone = Pass([loud], chain.start, loud.since_ns, chain.floor_ns, last_ns=chain.last_ns)
                self._open.append(alone)
            elif chain.pages >= self.settings.live_pages:
                chain.until_ns = ns(chain.start)
                chain.go_on_without_token()
        self._open.append(chain)

    def _finish(self, chain: Pass, now: float) -> None:
        """The chain is read: all that was findable when it began was shown."""
        settings = self.settings
        upto_ns = ns(chain.start) if chain.until_ns is None else chain.until_ns
        closed_ns = min(upto_ns, ns(chain.start - settings.visible))
        for log in chain.jobs:
            measured = log.read / max(1.0, (upto_ns - log.since_ns) / NS)
            log.rate = measured if measured > log.rate else (log.rate + measured) / 2
            log.quiet = 0 if log.fresh or chain.until_ns is not None else log.quiet + 1
            if closed_ns > log.since_ns:
                log.since_ns = closed_ns
                keep_ns = closed_ns - (ns(settings.remember) if len(log.seen) <= settings.many else 0)
                log.seen = {known_as: at for known_as, at in log.seen.items() if at >= keep_ns}
            log.passed = max(upto_ns / NS, log.passed or upto_ns / NS)
            log.reading = False
            log.due = max(now, chain.start + self._pause) if chain.until_ns is None else now

    def _is_settled(self, log: _Log) -> bool:
        if log.ended is None or log.reading or log.passed is None:
            return False
        certain = log.since_ns >= ns(log.ended + self.settings.arrival)
        if log.settle is None or certain:
            return certain
        passes, seconds = log.settle
        return log.quiet >= passes and log.passed >= log.ended + seconds
