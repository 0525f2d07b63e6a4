"""Options of outputs: what all have, and those of the local store and of Elasticsearch."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from collector.config_secrets import Secret
from collector.config_values import DURATION, SIZE, URL

Duration = Annotated[float, DURATION]
Size = Annotated[int, SIZE]
Url = Annotated[str, URL]


class FollowingConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, rename={"start": "from"}
):
    """What every output has: how it follows the journal."""

    optional: Annotated[
        bool,
        Meta(
            description="When the journal nears its limit because of this output, take it on to newer records instead "
            "of letting senders wait; what it has not had is counted as skipped (`tidewaiter balance`)."
        ),
    ] = False

    start: Annotated[
        Literal["now", "oldest"],
        Meta(
            description="Where an output begins that is new beside others: with what comes from now on, or with the "
            "oldest record that the journal still holds."
        ),
    ] = "now"


class LocalOutputConfig(FollowingConfig, frozen=True, tag_field="type", tag="local"):
    """The local store, searched by `tidewaiter search`."""

    retention: Annotated[Duration, Meta(description="Files whose newest document is older are deleted.")] = 30 * 86400.0

    limit: Annotated[
        Size,
        Meta(
            description="Largest size on disk; beyond it the oldest file is deleted. A file takes what its lines have "
            "until it is closed (64 MiB or an hour) and made Parquet, then usually a tenth of that."
        ),
    ] = 10 << 30


class ElasticsearchOutputConfig(FollowingConfig, frozen=True, tag_field="type", tag="elasticsearch"):
    """Data streams of Elasticsearch 8.19 or later, or of OpenSearch 2 or later."""

    urls: Annotated[
        list[Url],
        Meta(description="One node or several; requests go round, a dead one is left out for a while."),
    ]

    api_key: Annotated[
        Secret | None,
        Meta(description="API key (the encoded form). Needs `auto_configure` and `create_doc` on logs-*-*."),
    ] = None

    username: Annotated[str | None, Meta(description="User for basic authentication, together with `password`.")] = None

    password: Annotated[Secret | None, Meta(description="Password for basic authentication.")] = None

    ca_file: Annotated[
        str | None,
        Meta(description="PEM file with the authority that signed the nodes' certificates."),
    ] = None

    gzip: Annotated[bool, Meta(description="Compress requests.")] = True

    server: Annotated[
        Literal["elasticsearch", "opensearch"],
        Meta(description="What answers at these URLs; OpenSearch is spoken to in its own way."),
    ] = "elasticsearch"

    request_limit: Annotated[
        Size,
        Meta(description="Largest request body before compression; a larger single document goes alone."),
    ] = 8 << 20

    requests_limit: Annotated[
        int,
        Meta(description="Most requests at once; there are fewer while Elasticsearch is quick, or busy."),
    ] = 4

    hold_refused: Annotated[
        bool,
        Meta(
            description="When nearly all documents of a data stream are refused they wait until the stream is mended; "
            "`false`: they become dead letters."
        ),
    ] = True

    retention: Annotated[
        Duration,
        Meta(description="How long `tidewaiter setup elasticsearch` tells data streams to keep documents."),
    ] = 90 * 86400.0
