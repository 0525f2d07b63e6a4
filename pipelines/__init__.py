"""The pure middle of Tidewaiter: a journal frame goes in, a batch of encoded ECS documents comes out.

No module here opens a file or a socket, or reads a clock: the same frame under the same configuration gives the same
bytes (promise P10).
"""
