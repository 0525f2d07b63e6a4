"""One module per output: pull batches from its own cursor, settle every document once."""

from collector.config import LocalOutputConfig, OutputConfig
from collector.outputs.output import Output
from collector.role import Context


def make_output(name: str, options: OutputConfig, context: Context) -> Output:
    """Make an output of its configuration; each module is imported only where it is used."""
    if isinstance(options, LocalOutputConfig):
        from collector.outputs.local import LocalOutput

        return LocalOutput(name, options, context.data_dir)
    from collector.outputs.elasticsearch import ElasticsearchOutput

    return ElasticsearchOutput(name, options, context.data_dir, context)
