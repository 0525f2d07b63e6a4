"""Input `http`: JSON by POST or PUT, as sensors, scanners and shippers send it.

    inputs:
      sensors: {type: http, listen: "127.0.0.1:8080", tokens: {falco: {file: /run/secrets/falco}}}

A body is an object, an array of objects, or objects one behind the other, with or without newlines between them
(NDJSON); its encoding in the journal is `json`, its tag the request's path. There is no id by which a body could be
known again: one whose answer was lost is sent, and kept, twice (at least once).
"""

from typing import Final

from aiohttp.web_request import BaseRequest

from collector.inputs.posted import PostedInput

TAG_CHARACTERS: Final = 1024
"""Of a longer path the beginning is the tag."""


class HttpInput(PostedInput):
    """See the module and `PostedInput`."""

    encoding = "json"

    def tag(self, request: BaseRequest) -> bytes:
        """Return the path without its slashes at both ends: `falco` of `/falco`."""
        return request.path.strip("/")[:TAG_CHARACTERS].encode("utf-8", "surrogateescape")
