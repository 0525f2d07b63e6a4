"""Who has sent anything lately: somebody who is alone need not be kept from making others wait."""

from typing import Final

ALONE_AFTER_S: Final = 5.0
"""Who sends is alone once nobody else has sent anything for so long."""


class Company:
    """Remembers when two different senders last followed one another. Times are of any clock that rises."""

    def __init__(self) -> None:
        self._last: object = None
        self._shared_s = float("-inf")

    def heard(self, sender: object, now_s: float) -> None:
        """Take note that `sender` (anything that compares) has sent something."""
        if sender != self._last:
            if self._last is not None:
                self._shared_s = now_s
            self._last = sender

    def is_alone(self, now_s: float) -> bool:
        """Tell whether all that came lately came from one sender."""
        return now_s - self._shared_s >= ALONE_AFTER_S
