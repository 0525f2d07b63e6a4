"""One module per output: pull batches from its own cursor, settle every document once."""

from collector.config import LocalOutput
from collector.config import Output as OutputConfig
from collector.outputs.output import Output
from collector.role import Context


def make_output(name: str, options: OutputConfig, context: Context) -> Output:
    """Make an output of its configuration; each module is imported only where it is used."""
    if isinstance(options, LocalOutput):
        from collector.outputs.local import LocalStore

        return LocalStore(name, options, context.data_dir)
    from collector.outputs.elasticsearch import ElasticsearchSink

    return ElasticsearchSink(name, options, context.data_dir, context)
