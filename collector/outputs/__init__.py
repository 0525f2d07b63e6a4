"""One module per output: pull batches from its own cursor, settle every document once."""
