"""X-Robots-Tag: what a server asks of those who collect its images."""

from collections.abc import Iterator, Sequence

VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
"""Directives with a colon of their own, which does not name an agent."""


def opted_out(headers: Sequence[str], user_agent: str, directives: Sequence[str]) -> str | None:
    """The first directive by which a response must be left alone, or None.

    A header is `[agent:] directive, directive…`; what is addressed to another agent than
    `user_agent` (the name before its slash) or `*` does not count.
    """
    ours = user_agent.partition("/")[0].strip().lower()
    for header in headers:
        for agent, directive in _addressed(header.lower()):
            if directive in directives and agent in ("", "*", ours):
                return directive
    return None


def _addressed(header: str) -> Iterator[tuple[str, str]]:
    """(agent, directive) of a header; the agent is empty where all are meant."""
    agent = ""
    for item in header.split(","):
        name, colon, rest = item.partition(":")
        if colon and name.strip() not in VALUED:
            agent, item = name.strip(), rest
        yield agent, item.strip()
