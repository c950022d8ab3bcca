"""How netlens ends: with one line on standard error, whatever happened, and the documented exit status.

1. Standard output is flushed here, while a full disk can still be reported; at exit Python would give 120, or nothing. If the reader of a pipe went
   away, netlens ends like every other program in a pipeline: silently, by SIGPIPE.
2. What the user or the machine can change (input, output, memory) is named. Every other exception is a defect of netlens, and the line holds what a
   report needs; ``NETLENS_DEBUG=1`` shows the trace before it.
3. The same goes for exceptions that end a thread, or that Python can only print.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import click

from netlens.cli.common import say
from netlens.errors import DEBUG, NetlensError, defect

#: What a write gives where no file is named: the disk is full or over quota, the file too large, the device gone, the descriptor closed.
_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.ENXIO)
#: How the loader, libc and Python say that there is no memory where no MemoryError is raised. (llvmlite hides the loader's words behind its own.)
_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "out of memory", "can't start new thread", "cannot create thread")


def status_of(run: Callable[[], int]) -> int:
    """The exit status of ``run``, however it ends; the message has been printed."""
    _open_streams()
    failed: list[str] = []  # threads that an exception ended: the status cannot be 0
    told = False
    with _hooks(failed):
        try:
            status = run()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                told = True
                say(stop.code)
        except BaseException as error:  # noqa: BLE001 -- the last place where it can be said
            told = True
            status = _told(error)
        return _flushed(status or int(bool(failed)), told or bool(failed))


def break_off(number: int) -> NoReturn:
    """In the handler of a signal: unwind, so that files written aside are deleted, and end with the status of that signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


@contextlib.contextmanager
def interrupts(handler: Callable[[int], None]) -> Iterator[None]:
    """Within the block, Ctrl-C, a termination and a closed terminal call ``handler`` with the signal's number; under nohup the last does not."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _: handler(n)) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one behind it, means that memory ran out (or threads, which need some)."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, (ImportError, OSError, RuntimeError)) and any(said in str(error).lower() for said in _NO_MEMORY):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _told(error: BaseException) -> int:
    """Say what ended the program; its exit status."""
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        say("interrupted")
        return 130
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # of click 8.2 and later: its message is the help
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{error}\n")
        return 2
    if isinstance(error, click.UsageError):
        if (context := error.ctx) is not None:  # where help is, and in the last line what is wrong in the usage
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\n")
        told = error.format_message()
        say(" ".join(told.split()) if isinstance(error, click.MissingParameter) else told)  # a list of choices has a line for each
        return 2
    if isinstance(error, click.ClickException):
        say(error.format_message())
    elif isinstance(error, NetlensError):
        say(str(error))
    elif out_of_memory(error):
        _say_out_of_memory()
    elif isinstance(error, BrokenPipeError) and _reader_is_gone():
        _end_as_by_a_closed_pipe()
    elif isinstance(error, OSError) and error.errno in _OUTPUT and error.filename is None:
        _unwritable(error)
    elif isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("netlens"):
        say(f"the package {error.name} is missing, so netlens is not fully installed; run: pip install netlens")
    else:
        _defect(type(error), error, error.__traceback__)
    return 1


def _say_out_of_memory() -> None:
    import atexit

    say(f"out of memory{_limit()}; raise the limit, close other programs, or give smaller files")
    # Files written aside are deleted by now. Libraries need memory at exit too, and crash without it: leave before them.
    atexit.register(os._exit, 1)


def _unwritable(error: OSError) -> None:
    say(f"the output cannot be written ({(error.strerror or str(error)).lower()})")


def _defect(kind: type[BaseException], error: BaseException | None, trace: Any, where: str = "") -> None:
    """The line that a report needs."""
    from netlens import __version__

    if os.environ.get(DEBUG):
        import traceback

        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(kind, error, trace)
    said = f"{defect(kind, error, trace)}{where}; please report this line and the command ({DEBUG}=1 prints the whole trace)"
    say(f"this is a bug in netlens {__version__}: {said}")


def _limit() -> str:
    """The shell's limit on memory, if there is one, for the message."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    from netlens.text import size

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return "" if limit == resource.RLIM_INFINITY else f" (ulimit -v allows {size(limit)}; netlens needs 1 GB or more)"


# --- streams -----------------------------------------------------------------------------------------------------------------------------


def _open_streams() -> None:
    """Replace a closed standard stream by one that fails as a closed one does, and let no character end the program.

    A descriptor below 3 must not stay free: the next file opened would get it, and be written to by mistake.
    """
    for number, (name, mode, flags) in enumerate((("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))):
        if getattr(sys, name) is None:
            free = os.open(os.devnull, flags)
            if free != number:
                os.dup2(free, number)
                os.close(free)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal shows \xfc for what it has no letter for


def _flushed(status: int, told: bool) -> int:
    """Flush what is still buffered; the status is 1 if that fails, which is said unless another reason for a status of 1 was (``told``)."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            _end_as_by_a_closed_pipe()
        if status in (0, 1) and not told:  # 1 without a word: a doctor who found something missing
            _unwritable(error)
        status = status or 1
        _discard(sys.stdout)
    except ValueError:  # closed
        pass
    with contextlib.suppress(ValueError):
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)
    return status


def _discard(stream: Any) -> None:
    """Discard what cannot be written, or Python would try again at exit and give 120."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False


def _end_as_by_a_closed_pipe() -> None:
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


# --- what no caller can catch ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _hooks(failed: list[str]) -> Iterator[None]:
    """One line for an exception that ends a thread or that Python ignores, instead of a trace."""

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        name = args.thread.name if args.thread is not None else "a thread"
        failed.append(name)
        if out_of_memory(args.exc_value):
            _say_out_of_memory()
        else:
            _defect(args.exc_type, args.exc_value, args.exc_traceback, f" in thread {name}")

    def ignored(args: Any) -> None:
        if os.environ.get(DEBUG):
            sys.__unraisablehook__(args)

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = of_thread, ignored
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before
