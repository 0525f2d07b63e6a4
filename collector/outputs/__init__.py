"""One module per output: pull batches from its own cursor, settle every document once."""

from pathlib import Path

import msgspec

from collector.config import OutputConfig
from collector.config_outputs import ElasticsearchOutputConfig, LocalOutputConfig
from collector.dead_letters import DeadLetterFile, Letters
from collector.outputs.elasticsearch_answers import Pace
from collector.outputs.output import Output, Surroundings
from collector.role import Context


def make_output(name: str, options: OutputConfig, context: Context) -> Output:
    """Make an output of its configuration; each module is imported only where it is used."""
    if isinstance(options, LocalOutputConfig):
        from collector.outputs.local import LocalOutput

        return LocalOutput(name, options, context.data_dir)
    from collector.outputs.elasticsearch import ElasticsearchOutput

    kept = DeadLetterFile(context.data_dir, name, limit_bytes=context.config.dead_letters.limit)
    return ElasticsearchOutput(name, options, context.data_dir, context, letters=kept)


def make_replaying_output(
    name: str,
    options: OutputConfig,
    data_dir: Path,
    surroundings: Surroundings,
    letters: Letters,
    *,
    pace: Pace | None = None,
) -> Output | None:
    """Make an output that offers letters again and puts into `letters` what is refused once more.

    None for one that refuses nothing.
    """
    if not isinstance(options, ElasticsearchOutputConfig):
        return None
    from collector.outputs.elasticsearch import ElasticsearchOutput

    # What is refused once more is a letter already: nothing is kept by waiting until its stream is mended.
    options = msgspec.structs.replace(options, hold_refused=False)
    return ElasticsearchOutput(name, options, data_dir, surroundings, pace=pace, letters=letters)
