"""Telling systemd how far we are (sd_notify(3)), without its library."""

import contextlib
import os
import socket
import time


def notify(state: str) -> None:
    """Send a state (`READY=1`, `STOPPING=1`) to NOTIFY_SOCKET; nothing happens where nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(state.encode())


def reloading() -> None:
    """Say that a reload begins; `READY=1` says that it is over, however it went (sd_notify(3), Type=notify-reload)."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
