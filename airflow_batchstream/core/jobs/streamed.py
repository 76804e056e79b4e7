"""Did the image stream? What the run shows of it, in one word with its evidence.

Beside :mod:`~airflow_batchstream.core.jobs.outcome`: the hub gathers :class:`Signs` when a job has ended, :func:`judge`
says the word. Batch itself never tells whether it streamed an image, so there is no "yes" here, only what fits:

- Docker's words about a pull ("Unable to find image '...' locally") are evidence of a full pull: what is streamed never
  goes through Docker.
- A first line that came much sooner after RUNNING than a download takes is consistent with streaming, if nothing else
  can have printed it: :func:`first_waits_for`, :mod:`~airflow_batchstream.core.jobs.first_line`, and the job succeeded.
  One that came late is evidence of nothing: a program may compute before it prints. So is the time of a small image,
  which is there at once either way.
- What the scan said is about the image and not about the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from airflow_batchstream.core.jobs.text import plain
from airflow_batchstream.core.jobs.times import span
from airflow_batchstream.core.sizes import size


class Streamed(StrEnum):
    """What is known, from least to most; ``UNKNOWN`` where what is known decides nothing."""

    REQUESTED = "requested"
    """The job asks for streaming; nothing is known of a look whether its image can."""
    ELIGIBLE = "eligible"
    """The scan found the rules kept; the run shows neither streaming nor a pull."""
    FULL_PULL = "full pull"
    CONSISTENT = "consistent"
    UNKNOWN = "unknown"
    """The scan found a rule broken or could not tell, and the run shows nothing; or the signs contradict each other."""


PULL_BYTES_PER_SECOND = 20_000_000
"""Of compressed bytes, downloaded and unpacked by a VM: what people measured with Batch and GKE."""
TELLING_SECONDS = 30.0
"""An image whose download takes less (600 MB) may be there at once, streamed or not."""
MUCH_SOONER = 0.25
"""Of the download's time: four times the usual speed may be a fast VM, more is none."""
PULL_PHRASES = ("Unable to find image", "Pulling from", "Pulling fs layer", "docker run")
"""What Docker says when it pulls, and the agent when it calls Docker: by these the agent's log is searched."""

_WORDS = {
    Streamed.FULL_PULL: "evidence of a full pull",
    Streamed.CONSISTENT: "consistent with streaming",
}
_DOCKER = re.compile(
    r"Unable to find image '.*' locally|Using default tag: \S+|\S+: Pulling from \S+|Digest: sha256:[0-9a-f]{64}|"
    r"Status: (?:Downloaded newer image|Image is up to date) for .*|"
    r"[0-9a-f]{12}: (?:Pulling fs layer|Waiting|Verifying Checksum|Download complete|Pull complete|Already exists)"
)
_PULL = re.compile(r"Unable to find image '(?P<image>[^']+)' locally|Pulling from (?P<path>\S+)|Pulling fs layer")
_QUOTE = 160


@dataclass(frozen=True, slots=True)
class Signs:
    """What the scan and the run showed.

    :param streaming: whether the job asks for Image streaming.
    :param image: its name; a pull of another one is no sign.
    :param compressed_bytes: 0 if nobody looked.
    :param verdict: the scan's: ``holds``, ``warning``, ``broken``, ``unknown``; empty without a scan.
    :param running_at: when Batch says that the job began to run, seconds since the epoch; None if it does not say.
    :param first_line_at: of the first line of a container that waited for the image; None if there was none.
    :param agent: lines of Batch's agent, or of Docker, in which a pull may be told.
    """

    streaming: bool
    image: str = ""
    compressed_bytes: int = 0
    verdict: str = ""
    running_at: float | None = None
    first_line_at: float | None = None
    agent: tuple[str, ...] = ()


class Judgement(NamedTuple):
    """The word, and the evidence in sentences without their full stops; both empty for a plain job."""

    word: str = ""
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people; empty for a plain job."""
        if not self.word:
            return ""
        told = _WORDS.get(Streamed(self.word), self.word)
        return f"Image streaming: {told}: {'; '.join(self.evidence)}."


def judge(signs: Signs) -> Judgement:
    """The word that the signs bear, and no stronger one."""
    if not signs.streaming:
        return Judgement()
    pulls, (quick, time_says) = _pulls(signs), _timing(signs)
    if pulls and quick:
        return Judgement(Streamed.UNKNOWN, (pulls, f"yet {time_says}"))
    if pulls:
        return Judgement(Streamed.FULL_PULL, (pulls,))
    if quick and signs.verdict == "broken":
        return Judgement(Streamed.UNKNOWN, ("the scan found a rule of Image streaming broken", f"yet {time_says}"))
    if quick:
        return Judgement(Streamed.CONSISTENT, (time_says,))
    word, verdict_says = _eligibility(signs.verdict)
    return Judgement(word, (verdict_says, time_says) if time_says else (verdict_says,))


def told_by_docker(text: str) -> bool:
    """Whether a line is Docker's about a pull, wherever it was logged: no line of the container."""
    return _DOCKER.fullmatch(text.strip()) is not None


def first_waits_for(spec: Mapping[str, Any], image: str) -> bool:
    """Whether no line can be printed before this image is there, in a job that succeeds: it is the streamed one of the
    first runnable, which is waited for and has to succeed.

    :param spec: the job as Batch holds it, canonical.
    :param image: its name in the job, or pinned.
    """
    for group in spec.get("taskGroups") or ():
        runnables = [one for one in (group.get("taskSpec") or {}).get("runnables") or () if "barrier" not in one]
        first = runnables[0] if runnables else {}
        container = first.get("container")
        if not container or not container.get("enableImageStreaming"):
            return False
        if first.get("background") or first.get("ignoreExitStatus"):
            return False
        if _name(str(container.get("imageUri") or "")) != _name(image):
            return False
    return bool(spec.get("taskGroups"))


def _eligibility(verdict: str) -> tuple[Streamed, str]:
    if verdict in ("holds", "warning"):
        return Streamed.ELIGIBLE, "the scan found the rules kept"
    if verdict == "broken":
        return Streamed.UNKNOWN, "the scan found a rule broken, and the run does not show what Batch made of it"
    if verdict:
        return Streamed.UNKNOWN, "the scan could not tell whether the image keeps the rules"
    return Streamed.REQUESTED, "no scan of the image is known here"


def _timing(signs: Signs) -> tuple[bool, str]:
    """Whether the first line came much sooner than a download, and what the time says; empty if there is none."""
    if signs.compressed_bytes <= 0:
        return False, ""
    download = signs.compressed_bytes / PULL_BYTES_PER_SECOND
    if signs.running_at is None or signs.first_line_at is None:
        return False, ""
    download_size, time = size(signs.compressed_bytes), _about(download)
    if download < TELLING_SECONDS:
        return False, f"{download_size} are downloaded in {time}, so that the time to the first line tells nothing"
    after = signs.first_line_at - signs.running_at
    if after < 0:
        return False, "the first line is dated before RUNNING, so that its time tells nothing"
    came, takes = f"the first line came {span(after)} after RUNNING", f"downloading {download_size} takes {time}"
    if after <= download * MUCH_SOONER:
        return True, f"{came}; {takes}"
    return False, f"{came}, and {takes}: that fits either way"


def _pulls(signs: Signs) -> str:
    """What tells of a pull of this image; never a whole line, since an agent's may hold an environment."""
    told, nameless, others = "", "", False
    for line in signs.agent:
        text = plain(line)
        if found := _PULL.search(text):
            pulled = _name(found["image"] or found["path"] or "")
            words = f'a VM logged "{_cut(found[0])}"'
            if not pulled:
                nameless = nameless or words
            elif _same(pulled, signs.image):
                told = told or words
            else:
                others = True
        elif "docker run" in text and _names(text, signs.image):
            told = told or "Batch's agent ran the image with `docker run`"
    return told or ("" if others else nameless)


def _names(text: str, image: str) -> bool:
    """Whether a text names the image, and not only one whose name begins as its does."""
    return bool(image) and re.search(rf"(?<![\w./-]){re.escape(_name(image))}(?![\w./-])", text) is not None


def _same(pulled: str, image: str) -> bool:
    """Whether it is this image; Docker leaves the registry out where it says what it pulls from."""
    ours = _name(image)
    return not ours or pulled in (ours, ours.partition("/")[2])


def _name(uri: str) -> str:
    """Host and path of an image's name, without tag and digest."""
    name = uri.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _about(seconds: float) -> str:
    if seconds < 1:
        return "a moment"
    return f"about {round(seconds / 60)} min" if seconds >= 120 else f"about {round(seconds)} s"


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTE else text[: _QUOTE - 1] + "…"


def pull_filter() -> str:
    """The part of a Cloud Logging filter that finds an agent's lines about a pull."""
    return "textPayload:(" + " OR ".join(f'"{phrase}"' for phrase in PULL_PHRASES) + ")"
