"""Evidence: whether what stands in a journal is what was written."""
