"""What a role says of its components: those that wait, keep or watch are told where to say it."""

from typing import Protocol


class Health(Protocol):
    """Where it is said how a component is."""

    def healthy(self, component: str) -> None:
        """Nothing is wrong."""

    def unhealthy(self, component: str, reason: str) -> None:
        """Something is."""
