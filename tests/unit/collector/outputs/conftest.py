"""What the tests of the Elasticsearch output share."""

from collections.abc import AsyncIterator

import pytest

from tests.kit.bulk_server import BulkServer, bulk_server


@pytest.fixture
async def server() -> AsyncIterator[BulkServer]:
    """A scripted server on a free port."""
    async with bulk_server() as scripted:
        yield scripted
