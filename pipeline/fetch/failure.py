"""Why a URL gave no image: what happens on the web is a row with a reason, never an exception."""


class Failure(Exception):
    """`<kind>: <words>`, in our own words: no URL, header or page is ever repeated in it."""

    def __init__(self, kind: str, words: str, passing: bool = False, pause: float = 0.0) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind = kind
        self.passing = passing
        """Whether it may be gone at the next attempt."""
        self.pause = pause
        """Seconds for which the host asked to be left alone."""


def kind_of(message: str) -> str:
    """The kind in a recorded message: what failures are counted by."""
    return message.partition(":")[0]
