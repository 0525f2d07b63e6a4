"""The API server that tests script, in a thread of its own: for tests whose collector is a process."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from tests.kit.kubernetes_api import KubernetesApi, kubernetes_api
from tests.kit.kubernetes_watching import pod, shop, write_kubeconfig

LIMIT_S: Final = 10.0
_Result = TypeVar("_Result")


class KubernetesThread:
    """Does what `kubernetes_server.KubernetesServer` does, without a Kubernetes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._api = KubernetesApi()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(lambda: shop(self._api, pods=0))
        self._serving: Future[None] | None = None

    def start(self) -> None:
        """Serve what there is, at the address it had before."""
        ready = threading.Event()

        async def serve() -> None:
            self._ending.clear()
            async with kubernetes_api(api=self._api):
                ready.set()
                await self._ending.wait()

        self._serving = asyncio.run_coroutine_threadsafe(serve(), self._loop)
        ready.wait(LIMIT_S)

    def kubeconfig(self, folder: Path) -> str:
        """Write a kubeconfig; return its path."""
        return write_kubeconfig(folder / "kubeconfig", self._api.url)

    def create_pod(self, name: str) -> str:
        """Make a running pod; return its container's id."""
        made = self._run(lambda: self._api.put("pods", pod(name)))
        return str(made["status"]["containerStatuses"][0]["containerID"]).removeprefix("containerd://")

    def delete_pod(self, name: str) -> None:
        """Delete one."""
        self._run(lambda: self._api.delete("pods", name, "shop"))

    def kill(self) -> None:
        """Stop serving."""
        if self._serving is not None:
            self._loop.call_soon_threadsafe(self._ending.set)
            self._serving.result(LIMIT_S)
            self._serving = None

    def remove(self) -> None:
        """Stop the thread."""
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def _run(self, act: Callable[[], _Result]) -> _Result:
        async def acted() -> _Result:
            return act()

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result(LIMIT_S)
