"""The steps on Dask's workers: of a scheduler that is there, or of a local cluster that is started and ended here."""

import asyncio
import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from netlens.cluster.job import Executor
from netlens.cluster.sources import first_line
from netlens.errors import NetlensError

MISSING = "--workers and --scheduler need Dask, which is not installed ({}); install it: pip install 'netlens[cluster]'"
CONNECT_S = 10  #: to reach a scheduler, and for it to have a worker
LOAD_S = 60  #: for workers to load netlens, from a slow disk at worst
LOOK_S = 2  #: how often workers are looked after while results are waited for
SILENT_S = 30  #: after which a worker is taken for stopped; they report every 0.5 s, also while they compute (of 1,000: every 6 s)


class OnWorkers(Executor):
    """Runs functions on the workers of a Dask client.

    Dask replaces a worker that dies. One that is stopped (SIGSTOP, a sleeping machine, a cut wire) keeps its connection, and Dask would wait for it
    for minutes, or for ever: after :data:`SILENT_S` it is dropped here, and others redo its work.
    """

    def __init__(self, client: Any):
        self.client = client
        # by address of a worker: when it last reported, on the scheduler's clock and on ours
        self._seen: dict[str, tuple[float, float]] = {}
        self._had_workers = time.monotonic()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.submit(run, function, *arguments, pure=False, key=None)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        with _told():
            return list(self._waited_for(self.client.gather(list(handles), asynchronous=True)))

    def as_done(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        from distributed import as_completed

        place = {handle.key: i for i, handle in enumerate(handles)}
        with _told():
            coming = as_completed(handles, loop=self.client.loop, with_results=True)
            for _ in handles:
                future, result = self._waited_for(coming.__anext__())
                yield place[future.key], result

    def _waited_for(self, coming: Coroutine[Any, Any, Any]) -> Any:
        """The result of ``coming``; while it is waited for, workers are watched."""
        waiting = asyncio.run_coroutine_threadsafe(coming, self.client.loop.asyncio_loop)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    return waiting.result(LOOK_S)
                if waiting.done():
                    return waiting.result()
                self._look_after_workers()
        finally:
            waiting.cancel()

    def _look_after_workers(self) -> None:
        """Drop workers that are silent.

        Raises
        ------
        NetlensError
            the scheduler is silent too, or there has been no worker for a while.
        """
        asked = asyncio.run_coroutine_threadsafe(self.client.scheduler.identity(n_workers=-1), self.client.loop.asyncio_loop)
        try:
            workers = asked.result(SILENT_S)["workers"]
        except TimeoutError:
            asked.cancel()
            raise NetlensError(f"the Dask scheduler has not answered for {SILENT_S} s; is it stopped, or its machine asleep?") from None
        now = time.monotonic()
        if workers:
            self._had_workers = now
        elif now - self._had_workers > SILENT_S:
            raise NetlensError("no Dask worker is left: they were stopped, or their machines are asleep; start some and run this again")
        self._seen = {
            address: self._seen[address] if self._seen.get(address, (None,))[0] == info["last_seen"] else (info["last_seen"], now)
            for address, info in workers.items()
        }
        silent = [address for address, (_, since) in self._seen.items() if now - since > SILENT_S]
        if silent:
            given_up = self.client.scheduler.restart_workers(workers=silent, wait_for_workers=False, stimulus_id="netlens-silent")
            asyncio.run_coroutine_threadsafe(given_up, self.client.loop.asyncio_loop).result(2 * SILENT_S)


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """On a worker: call ``function``; an error of ours says which worker it was."""
    from netlens.compiling import Shown
    from netlens.wire import compiled

    compiled.compile_at_once()
    compiled.shown = Shown(bar=False, waits=False)  # its standard error may be the user's terminal, or a log
    try:
        return function(*arguments)
    except NetlensError as error:
        raise type(error)(f"{error} (on worker {_here()})") from None
    except MemoryError:
        raise NetlensError(f"out of memory (on worker {_here()}); give its workers more, or name smaller files") from None


def _here() -> str:
    from distributed import get_worker

    return str(get_worker().address)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Dask's own ways to fail, as errors of ours."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        yield
    except KilledWorker as error:
        raise NetlensError(
            f"workers died repeatedly on the same file, the last of them {error.last_worker.address}; out of memory? "
            "(their logs say; smaller files or fewer workers per machine need less)"
        ) from None
    except (FutureCancelledError, TimeoutError, OSError) as error:
        raise NetlensError(f"the connection to the Dask scheduler was lost ({first_line(error)})") from None


def version() -> str:
    """On a worker: load all that it will need; which netlens that is."""
    import netlens.cluster.job
    import netlens.wire.jit  # kernels that are on disk do without, others do not

    return netlens.__version__


def need_dask() -> None:
    """Raise the one line that says what to install, if it is not."""
    try:
        import distributed  # noqa: F401
        import fsspec  # noqa: F401
    except ImportError as error:
        raise NetlensError(MISSING.format(error.name or error)) from None


@contextlib.contextmanager
def on_workers(workers: int | None = None, scheduler: str | None = None) -> Iterator[OnWorkers]:
    """A scheduler's workers, or ``workers`` new processes on this machine, which are ended with the block.

    Raises
    ------
    NetlensError
        Dask is not installed, the scheduler does not answer or has no workers, or these cannot run this netlens.
    """
    need_dask()
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)  # what matters is raised
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if scheduler is not None:
            client = _connected(stack, scheduler)
        else:
            client = _started(stack, workers or 1)
        yield OnWorkers(client)


def _connected(stack: contextlib.ExitStack, scheduler: str) -> Any:
    from distributed import Client
    from distributed.comm import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(scheduler)  # by ourselves: a client that was never one takes 20 s to end
        get_backend(scheme)
        parse_host_port(place)
        client = stack.enter_context(Client(scheduler, timeout=CONNECT_S, set_as_default=False))
    except (OSError, ValueError, TimeoutError) as error:
        raise NetlensError(
            f"no Dask scheduler answers at {scheduler} ({first_line(error)}); start one with: dask scheduler, and workers with: dask worker {scheduler}"
        ) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        raise NetlensError(f"the Dask scheduler at {scheduler} has no workers; start some: dask worker {scheduler}") from None
    theirs = _versions(client, f"the workers of {scheduler}", "in their environment: pip install 'netlens[cluster]'")
    if other := {address: found for address, found in theirs.items() if found != version()}:
        address, found = next(iter(other.items()))
        raise NetlensError(f"worker {address} has netlens {found}, and this is {version()}; rows must be made by one version")
    return client


def _started(stack: contextlib.ExitStack, workers: int) -> Any:
    from distributed import Client, LocalCluster

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="netlens-workers-", ignore_cleanup_errors=True))
    try:
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                local_directory=folder,
                silence_logs=logging.CRITICAL + 1,
                preload="netlens.cluster.interrupts",
            )
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        raise NetlensError(f"the workers could not be started ({first_line(error)})") from None
    client = stack.enter_context(Client(cluster, set_as_default=False))
    _versions(client, "the workers", "do they have too little memory?")
    return client


def _versions(client: Any, who: str, advice: str) -> dict[str, str]:
    """The netlens of each worker, by its address."""
    try:
        return dict(client.run(version, callback_timeout=LOAD_S))  # which is for ``Client.sync``
    except TimeoutError:
        raise NetlensError(f"{who} do not answer: one of them is stopped, or its machine asleep") from None
    except Exception as error:  # noqa: BLE001 -- whatever keeps them from loading it
        raise NetlensError(f"{who} cannot load netlens ({first_line(error)}); {advice}") from None
