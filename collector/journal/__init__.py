r"""The journal: what was acknowledged stands here, framed, checksummed and linked, until every consumer has passed it.

`writer.Journal` appends (the intake), `follow.Follower` reads (workers, search, verify), `cursors` say how far each
consumer is. The format of a segment file, version 1, integers little-endian:

    segment  = segment-head body frame*
    segment-head (24 bytes)
        8   magic "TWSEGMT\n"
        2   version (1)
        2   zero
        4   length of body
        8   XXH3-64 of the 16 bytes before and of body
    body     = MessagePack array, `format.SegmentHeader`: [[journal id, collector's name], partition, epoch,
               sequence of the first frame, created (ns), link before, number of the chain's key, seed,
               [[producer, sequence, cursor], …], "xxh3-64", "blake3-keyed"]

    frame    = frame-head header link payload
    frame-head (28 bytes)
        4   magic 0x89 "TWF"
        2   version (1)
        2   zero
        4   length of header
        8   length of payload
        8   XXH3-64, seeded with the segment's seed, of the 20 bytes before, of header and of link
    header   = MessagePack array, `format.FrameHeader`: [epoch, sequence, journal time (ns), origins, messages, runs,
               XXH3-64 of payload, producer triple or nil, compression (0)]
               origins [[input, transport, peer, auth], …]; messages [[origin, length, tag, chunk, digest, claimed], …];
               runs [[encoding, messages], …]
    link     = 32 bytes: keyed BLAKE3 over the link before, the first 20 bytes of frame-head, header and payload
    payload  = the messages' bytes in the order of the table

A message's digest is keyed BLAKE3, 16 bytes, over its bytes as they came. Segments are named
`PARTITION-EPOCH-SEQUENCE.segment` (decimal, padded) so that names sort like positions; each holds one epoch. Readers
ignore array elements behind those they know; a higher version is refused.

The seed is random and never leaves the machine, so no sender can put bytes into a payload that pass for a frame when a
reader looks for the next valid one behind damage.

Measured on the project's machine, 800 KB messages: keyed BLAKE3 9.3 GB/s, keyed BLAKE2b 1.3, HMAC-SHA-256 2.0.
"""
