"""IPython's shell as the process of a cell has it: without profile, history and terminal."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets import Instance, Type, observe
from traitlets.config import Config

from queuectl_nb.child.cell import CELL_NAME

if TYPE_CHECKING:
    from types import ModuleType

    from queuectl_nb.child.displays import Displays

__all__ = ["CellShell", "make_shell"]

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"


class _NoProfile(ProfileDir):
    """A profile without a directory."""

    @observe("location")
    def _location_changed(self, change: object) -> None:
        pass

    def check_dirs(self) -> None:
        pass


class _Compiler(CachingCompiler):
    """Names the code of the cell :data:`CELL_NAME`."""

    _named = False

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        if self._named:  # code that the cell passes to run_cell
            return str(super().get_code_name(raw_code, transformed_code, number))
        self._named = True
        return CELL_NAME


class _Publisher(DisplayPublisher):
    """Keeps what is displayed, and prints its text."""

    def publish(
        self, data: dict[str, Any], metadata: dict[str, Any] | None = None, *args: object, **kwargs: Any
    ) -> None:
        display_id = (kwargs.get("transient") or {}).get("display_id")
        _print(data)
        _shell(self).displays.add("display_data", data, metadata, display_id, update=bool(kwargs.get("update")))

    def clear_output(self, wait: bool = False) -> None:
        _shell(self).displays.clear(wait=wait)


class _Hook(DisplayHook):
    """Keeps the value of the last expression, and prints its text."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        _print(format_dict)
        _shell(self).displays.add("execute_result", format_dict, md_dict)


def _shell(owner: Any) -> CellShell:
    found: CellShell = owner.shell
    return found


def _print(data: dict[str, Any]) -> None:
    if "text/plain" in data:
        print(data["text/plain"], flush=True)  # noqa: T201 - to the log


class CellShell(InteractiveShell):
    """The shell of a cell; ``displays`` keeps what it shows."""

    displays: Displays
    display_pub_class = Type(_Publisher)
    displayhook_class = Type(_Hook)
    compiler_class = Type(_Compiler)
    profile_dir = Instance(_NoProfile, allow_none=True)

    def run(self, source: str) -> tuple[BaseException | None, object]:
        """Run the cell; return its exception, if any, and the value of its last expression."""
        result = self.run_cell(source, store_history=True)  # type: ignore[no-untyped-call]
        return result.error_before_exec or result.error_in_exec, result.result

    def init_ipython_dir(self, ipython_dir: str | None) -> None:
        """Use no directory of the user."""

    def init_profile_dir(self, profile_dir: object) -> None:
        """Use a profile without a directory."""
        self.profile_dir = _NoProfile()

    def init_completer(self) -> None:
        """Load no completer: that takes longer than everything else here."""
        self.Completer = None  # type: ignore[assignment]

    def init_virtualenv(self) -> None:
        """Do not change ``sys.path``."""

    def enable_gui(self, gui: str | None = None) -> None:
        """Accept ``%matplotlib inline``; there is no event loop."""

    def ask_exit(self) -> None:
        """End the cell, for ``exit`` and ``quit``."""
        sys.exit()

    def showtraceback(self, *_args: object, **_kwargs: object) -> None:
        """Print the traceback of an exception that does not end the cell; the reply has the one that does."""
        error, result = sys.exc_info()[1], self.displayhook.exec_result
        if result is None or error is not result.error_in_exec:
            traceback.print_exc()

    def showsyntaxerror(self, *_args: object, **_kwargs: object) -> None:
        """Print nothing: the reply has the error."""

    showindentationerror = showsyntaxerror
    system = InteractiveShell.system_raw


def make_shell(module: ModuleType, displays: Displays) -> CellShell:
    """Return the shell of this process, which runs the cell in ``module``."""
    warnings.filterwarnings("ignore", "To exit: use")
    if os.environ.setdefault("MPLBACKEND", INLINE_BACKEND) == INLINE_BACKEND and "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use(INLINE_BACKEND)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.cache_size = 0
    shell: CellShell = CellShell.instance(config=config, user_module=module)
    shell.displays = displays
    return shell
