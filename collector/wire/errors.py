"""What a wire module raises when a peer's bytes cannot be delimited any further."""


class WireError(ValueError):
    """The framing is broken: close the connection, nothing behind this point is received.

    `code` is bounded and fit for a metric's label, the text is for people and holds nothing of the peer's bytes.
    `offset` counts the bytes of the connection before the message that is broken.
    """

    def __init__(self, code: str, reason: str, offset: int = 0) -> None:
        self.code = code
        self.reason = reason
        self.offset = offset
        super().__init__(f"{reason} (message at byte {offset} of the connection)")
