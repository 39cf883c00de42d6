"""Code of one's own: modules imported by name or file, and registries that they add to.

    import_modules(["my_package.networks", "my_loss.py"])   # `--import` on the command line

A module registers what it adds with a decorator, such as `register_model` or `register_loss`.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from breastus.errors import ConfigError, did_you_mean


class Registry:
    """Names to builders, which a decorator adds.

    Messages call them by their `kind`, such as "loss", and by the `setting` that takes the names.
    """

    def __init__(self, kind: str, *, setting: str):
        self._kind, self._setting = kind, setting
        self._builders: dict[str, Callable] = {}

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Return a decorator that registers a builder. Raises ConfigError if the name is taken."""

        def add(builder: Callable) -> Callable:
            if name in self._builders:
                raise ConfigError(
                    f"A {self._kind} named {name} is registered already. Choose another name."
                )
            self._builders[name] = builder
            return builder

        return add

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._builders)

    def get(self, name: str) -> Callable[..., Any]:
        """Return the builder of a name. Raises ConfigError if no such name exists."""
        if name not in self._builders:
            known = ", ".join(self.names()) or f"a registered {self._kind} (none is)"
            raise ConfigError(
                f"{self._setting} must be one of {known}.{did_you_mean(name, self._builders)} A "
                f"module of your own is imported with --import. Received: {name!r}"
            )
        return self._builders[name]


def import_modules(names: Iterable[str | os.PathLike]) -> None:
    """Import modules, which register networks, losses, callbacks or sources of their own.

    A module that is imported already is not imported again.

    Args:
        names: dotted names, looked up in the working directory too, or paths of `.py` files.

    Raises:
        ConfigError: if a module does not exist or cannot be imported.
    """
    for name in map(os.fspath, names):
        try:
            if name.endswith(".py"):
                _import_file(Path(name).resolve())
            else:
                _import_name(name)
        except FileNotFoundError as error:
            raise ConfigError(f"--import: there is no file {name}.") from error
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--import {name}: there is no module {error.name}. Name a module that Python "
                "finds, or the path of a .py file."
            ) from error
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"--import {name} failed: {type(error).__name__}: {error}") from error


def _import_name(name: str) -> None:
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last, so that no file there hides a package
    importlib.import_module(name)


def _import_file(path: Path) -> None:
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    if str(path) in loaded:
        return
    if not path.is_file():
        raise FileNotFoundError(path)
    name = f"breastus_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
