"""GENeration Fine-Tuning for fairseq: what ``--user-dir genft_fairseq`` imports.

Importing the package imports neither fairseq nor torch.  ``register`` patches fairseq and adds the
criterions, models and tasks to its registries.  It is called on its own: at once if fairseq has
been imported, as it has with ``--user-dir``, and otherwise as soon as fairseq is imported.
"""

import copy
import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__version__ = "0.2.0"

# Why the last call of ``register`` failed; None: it has not failed.
fairseq_error: Exception | None = None

_registered = False

# On every start fairseq advises to install tensorboardX, which its text-to-speech task alone needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


def register() -> None:
    """Patch fairseq and register the criterions, models and tasks; a second call changes nothing.

    Raises:
        ImportError: fairseq is not installed.  A broken installation raises other errors as well.
            ``fairseq_error`` then holds the error.
    """
    global fairseq_error, _registered
    try:
        import fairseq  # noqa: F401

        if _registered:  # by that import, perhaps
            return
        _registered = True  # what is imported below may come here again
        try:
            from genft_fairseq import patches

            patches.apply()
            from genft_fairseq import criterions, models, tasks  # noqa: F401
            from genft_fairseq.data import encoders  # noqa: F401
        except BaseException:
            _registered = False
            raise
    except Exception as error:
        fairseq_error = error
        raise


class _RegisterWhenImported:
    """A finder that calls ``register`` as soon as fairseq has been imported.

    What imports fairseq may be one of its commands or a module of this package.  ``register`` needs
    these complete, so it waits for the last of them.
    """

    def __init__(self) -> None:
        self._unfinished: set[str] = set()
        self._due = False

    def find_spec(
        self, name: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find fairseq, its commands and the modules of this package by the other finders."""
        watched = name == "fairseq" or name.startswith(("fairseq_cli.", "genft_fairseq."))
        if _registered or not watched:
            return None
        following = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(name, path, target) for finder in following)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            spec.loader = copy.copy(spec.loader)  # one loader may serve several modules
            execute = spec.loader.exec_module
            spec.loader.exec_module = (  # type: ignore[method-assign]
                lambda module: self._execute(name, execute, module)
            )
        return spec

    def _execute(self, name: str, execute: Any, module: ModuleType) -> None:
        self._unfinished.add(name)
        try:
            execute(module)
            self._due = self._due or name == "fairseq"
        finally:
            self._unfinished.discard(name)
            if self._due and not self._unfinished:
                self._due = False
                register()


if __name__ != "genft_fairseq":
    # --user-dir names a link to this folder.  Its modules are those of the package itself, because
    # nothing can be registered twice.
    from genft_fairseq import register as _register

    _register()
    for _name, _module in list(sys.modules.items()):
        if _name.partition(".")[0] == "genft_fairseq":
            sys.modules[__name__ + _name.removeprefix("genft_fairseq")] = _module
elif sys.modules.get("fairseq"):
    register()
else:
    sys.meta_path.insert(0, _RegisterWhenImported())
