"""A clock that stands still until it is told to move, for everything that takes `clock: Callable[[], int]`."""

from typing import Final

START_NS: Final = 1_800_000_000_000_000_000


class FakeClock:
    """Nanoseconds since the Unix epoch; call it to read it. It may be set back, as real ones are."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.now_ns = start_ns

    def __call__(self) -> int:
        """Return the present time in nanoseconds."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Move the clock; a negative number sets it back."""
        self.now_ns += round(seconds * 1_000_000_000)
