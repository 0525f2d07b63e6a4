"""The local store: documents as they were shipped, in files that `tidewaiter search` reads.

    store/manifest.json               what is committed
    store/<data stream>/<id>.ndjson   one canonical document a line; named after its first document
    store/<data stream>/<id>.parquet  the same, sealed: what closed files become (`sealing`)

The manifest is replaced as a whole after the files it speaks of were synced. It says how many bytes of each file count,
so a reader never sees a half-written line, and what stands beyond is cut at the next start.
"""
