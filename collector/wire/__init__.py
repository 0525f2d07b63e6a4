"""Wire protocols without I/O: bytes in, messages out."""
