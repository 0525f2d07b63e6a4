"""Who asks: a process of its own that holds the sockets of Engines and no port, and appends what it learns.

One module per type of input that is asked (`docker_events`), run by `watcher`; what it learns goes through the intake's
internal socket (`producer`) into the journal, where the pipeline finds it in the order of all else.
"""
