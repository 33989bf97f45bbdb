"""Runs a program as `python` itself would, from a process that has prepared something for it.

    program = Program.parse(["job.py", "--its=flags"])         # or ["-m", "my.job", "--its=flags"]
    program.run()

The program is `__main__`, with its own `sys.argv`, `sys.path[0]` and `__file__`. Its exit code is
the process's, and a traceback shows its frames alone.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import io
import os
import pkgutil
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

# Not public. It is what `python -m` itself calls, and debuggers and profilers do.
_run_module_as_main: Any = getattr(runpy, "_run_module_as_main")  # noqa: B009


@dataclass(frozen=True)
class Program:
    """What a command line names."""

    name: str
    """The path of a script (or of a folder or a zip file with a `__main__.py`), or a module."""
    is_module: bool
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Program | None:
        """Returns what `SCRIPT [ARGUMENT ...]` or `-m MODULE [ARGUMENT ...]` names, or None."""
        is_module = list(arguments[:1]) == ["-m"]
        rest = arguments[1:] if is_module else arguments
        if not rest or rest[0].startswith("-"):
            return None
        return cls(rest[0], is_module, tuple(rest[1:]))

    def run(self) -> None:
        """Runs it, as `__main__` for the rest of the process.

        Raises:
          SystemExit: what the program raises, or 2 if its file can't be read.
          BaseException: the program's, which is shown without the frames above the program's.
        """
        try:
            if self.is_module:
                _become_main()
                sys.argv = ["-m", *self.arguments]
                _run_module_as_main(self.name)
            else:
                self._run_path()
        except (Exception, KeyboardInterrupt) as error:
            _show_from_its_own_frames(error)
            raise

    def _run_path(self) -> None:
        sys.argv = [self.name, *self.arguments]
        path = os.path.join(os.getcwd(), self.name)  # no more than that, as Python has it
        if pkgutil.get_importer(path) is not None:  # a folder or a zip file
            _put_first_on_the_path(path)
            _become_main()
            _run_module_as_main("__main__", False)
            return
        try:
            source = _read(path)
        except OSError as error:
            print(
                f"{sys.executable}: can't open file {path!r}: "
                f"[Errno {error.errno}] {error.strerror}",
                file=sys.stderr,
            )
            sys.exit(2)
        _put_first_on_the_path(os.path.dirname(os.path.realpath(path)))
        names = vars(_become_main())
        names["__file__"], names["__cached__"] = path, None
        names["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
        code = source if isinstance(source, CodeType) else compile(source, path, "exec", 0, True)
        exec(code, names)


def _read(path: str) -> CodeType | bytes:
    """Returns the source of a script, or the code of a compiled one."""
    with io.open_code(path) as file:
        code: CodeType | None = pkgutil.read_code(file)
        if code is not None:
            return code
        file.seek(0)
        return file.read()


def _become_main() -> ModuleType:
    """Puts an empty module in the place of the one that runs this."""
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _put_first_on_the_path(folder: str) -> None:
    """Puts a script's folder where `python -m` has put that of this process, or nothing."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = folder


def _show_from_its_own_frames(error: BaseException) -> None:
    """Has Python, and a hook of the program's, show an error as if nobody had called the program.

    The error itself has to leave this process as any other does: that decides about its exit code.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], shown: BaseException, frames: Any) -> None:
        if shown is error:
            frames = traceback
        hook(kind, shown.with_traceback(frames), frames)

    sys.excepthook = show
