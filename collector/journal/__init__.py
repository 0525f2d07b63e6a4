r"""The journal: what was acknowledged stands here, framed, checksummed and linked, until every consumer has passed it.

`writer.Journal` appends (the intake), `follow.Follower` reads (workers, search, verify), `cursors` say how far each
consumer is. This page is the format on disk, version 2, and enough to write a reader from. Version 1 knew no portions.

**Conventions.** Integers are little-endian and unsigned. `xxh(seed, bytes)` is XXH3-64 with a 64-bit seed. MessagePack
arrays may have more elements than named here: readers ignore them. A higher version is refused, an older one read.

**Segment file** `PARTITION-EPOCH-SEQUENCE.segment`: decimal, padded to 2, 10 and 11 digits, the position of its first
frame, so that names sort like positions. One epoch per file; files are never recycled. It is a header and frames:

    at  bytes
    0   8     magic "TWSEGMT\n"
    8   2     version
    10  2     zero
    12  4     L, length of the body
    16  8     xxh(0, bytes 0-15, body, link); these 24 bytes and this rule are the same in every version
    24  L     body: MessagePack array (`format.SegmentHeader`)
    +L  32    link of the header: keyed BLAKE3 with the segment's key over link before, bytes 0-15, body
    +32       first frame

    body = [[journal id (24 bits, random), collector's name], partition, epoch, sequence of the first frame,
            created (ns), link before (32 bytes; zeros for the first segment), key number, seed (64 bits),
            before, producers, checksum algorithm "xxh3-64", link algorithm "blake3-keyed"]
    before = nil, or [segment, offset, [partition, epoch, sequence, 0]]: the newest segment with frames when this one
            was opened, where its valid bytes end, and the position behind its last frame. What lies in that file
            beyond the offset, or in a file between the two, was never acknowledged (a failed sync) and is not read.
    producers = [[name, sequence, cursor], …]: the last triple of each internal producer before this segment

**Frame**, H = length of its header, P = of its payload:

    at  bytes
    0   4     magic 0x89 "TWF"
    4   4     marker: the low 32 bits of the seed
    8   2     version
    10  2     zero
    12  4     H, at most 64 MiB
    16  8     P, at most 1 GiB
    24  8     xxh(seed, header, link)
    32  8     xxh(seed, bytes 0-31)
    40  H     header: MessagePack array (`format.FrameHeader`)
    +H  32    link: keyed BLAKE3 with the segment's key over link before, bytes 0-23, header, payload
    +32 P     payload: the messages' bytes in the order of the table

    header = [epoch, sequence, journal time (ns since 1970), origins, messages, runs, xxh(0, payload),
              producer or nil, compression of the payload (0: none)]
    origins = [[input, transport, peer, auth], …]
    messages = [[index of origin, length, tag, chunk id, digest, claimed or -1, sending or nil, portions], …]
    sending = [connection, ordinal, ahead, first or nil]: where a chunk id was given (`pipelines.frame.Sending`);
            first = [connection, ordinal] of the stored message that this one repeats
    portions = [[sequence, offset], …]: the frames of this segment whose payloads come before these bytes of a message,
            in order; empty for a message that stands in one frame
    runs = [[encoding, number of messages], …]: consecutive messages of one encoding; those of `resend` have no payload,
            and say that a stored message came again; nor have those of `tick`, by which journal time goes on where
            somebody waits for it; those of `audit` are the collector's own, those of `lookup` tables of the operator;
            those of `portion` are a piece of a message that a later frame completes
    producer = [name, sequence, cursor]

Within a segment sequences rise by one. The link before a frame is that of the frame before it, for the first frame
that of the segment's header; the link before a segment's header is that of the last valid frame before it.

**Portions.** While others send as well, a message longer than 1 MiB is written in portions, each with a frame and a
message of its own, so that nobody waits for the sync of all of it. The frame that completes it, which holds nothing
else, names them: all of its segment, for a segment is deleted as a whole and a consumer may begin anywhere in it. Only
that frame's position is the message's. Portions that no frame names were never acknowledged: a crash came in between,
or a failed sync. Where one is damaged the message is lost, and reported at the position of the frame that names it.

**Damage.** A reader checks, in this order: magic and marker, the head's checksum, version, the header's checksum, the
epoch, the table, the payload's checksum. Where a head is sound and its payload is not, one frame is lost and the next
begins behind it. Else the next frame is where magic, marker and both header checksums are right again; its sequence
tells how many are lost. Where no frame follows, `before` of the next segment tells. A segment whose own header is
damaged is read with journal and seed of any other segment and the epoch of its name. The seed is random, one per
journal, and never leaves the machine, so no sender can put bytes into a payload that pass for a frame, or that make
the search slow.

**Keys.** `state.json` (0600) holds the chain's key, its number and the digest key, checksummed. Each segment has a key
of its own: k' = BLAKE3.derive_key("tidewaiter 2026-11 journal chain ratchet", k); the file is replaced, so k is gone.
Numbers may be skipped, never used twice. Key 0 is exported at the first start, once, as
`../evidence/verification.key`: keep it elsewhere. A message's digest, by which a resend is known, is keyed BLAKE3 with
the digest key over its bytes, 16 bytes long, and given where the client gave a chunk id; that key never changes.

**Beside the segments**: `cursors/NAME.json` (`cursors`): where each consumer goes on, a position and nothing more.
`checkpoints/PARTITION-EPOCH-SEQUENCE.checkpoint` (`checkpoints`): what every consumer's pipeline remembers before that
frame; segments are kept from the newest one before the oldest cursor on. `writer.lock`. Files that begin with a dot are
half-written and may be removed. A segment set aside at a start (`.damaged`) had neither a header nor a frame that
could be read.
The index of chunk ids (`resend_index`) and what is said of the journal outside of it (`seals`) are files of their own.

**Compressed segments**: one that still stands a minute after it was sealed becomes `NAME.segment.zst` (`segment_file`),
whole, so that offsets, checksums and links are those of the plain file. Where both stand the plain one counts.

**No preallocation**: measured on ext4, an append of 300 bytes is synced in 0.13 ms instead of 0.22 in a file that has
its length already, one of 16 KiB or more in the same time as without, and room set aside without the length
(`FALLOC_FL_KEEP_SIZE`) gains nothing. A lone sender's half a tenth of a millisecond is not worth a tail of zeros that
every reader would have to tell from a cut.

Measured on the project's machine, 800 KB messages: keyed BLAKE3 9.3 GB/s, keyed BLAKE2b 1.3, HMAC-SHA-256 2.0.
"""
