"""The running service: sockets, disks, clocks and processes around the pure packages `pipelines` and `parsers`."""

from importlib.metadata import version

__version__ = version("tidewaiter")
