"""One module per input: listen, authenticate, hand messages to the journal, answer after the durable append."""
