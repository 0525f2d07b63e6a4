"""What is added to a document beside what its record says: what is known of its container, and what the operator sets.

Watchers append what they learn of containers as messages; the pipeline keeps it in its state (`metadata`), so that it
is there for lines behind it, in every replay. `describe` puts it into a line's document, `waiting` lets a line wait for
it. Behind that stand the operator's fixed fields (`static`) and tables (`lookups`).
"""
