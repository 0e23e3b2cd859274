"""A program as Python runs it: as `__main__`, with its own arguments and path."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from traceback import format_exception_only
from types import CodeType, ModuleType

from shapetrace.cli.console import refuse


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run. `folder` comes first on `sys.path`; `spec` is that of a module
    (`-m`), by which its relative imports and the processes it spawns find it."""

    code: CodeType
    argv: list[str]
    folder: str
    spec: ModuleSpec | None = None

    @property
    def arguments(self) -> list[str]:
        """What stands for it on a command line."""
        if self.spec is None:
            return [self.path, *self.argv[1:]]
        return ["-m", self.spec.name, *self.argv[1:]]

    @property
    def path(self) -> str:
        return self.code.co_filename

    @contextmanager
    def as_main(self) -> Iterator[ModuleType]:
        """A fresh `__main__` for it, and `sys` as Python sets it up."""
        module = ModuleType("__main__")
        module.__file__ = self.path
        if self.spec is not None:
            module.__spec__ = self.spec
            module.__package__ = self.spec.parent
            module.__loader__ = self.spec.loader
        before = sys.modules["__main__"], sys.argv
        sys.modules["__main__"] = module
        sys.argv = self.argv
        try:
            with _first_on_path(self.folder):
                yield module
        finally:
            sys.modules["__main__"], sys.argv = before


def find(options: argparse.Namespace) -> Program:
    """The program that the command line names; what cannot be run is refused."""
    if options.module is not None:
        if not options.module:
            refuse(options, "-m: name the module to run")
        return _module(options)
    if not options.program:
        refuse(options, "the following arguments are required: script")
    return _script(options)


def again(arguments: list[str]) -> Program:
    """The program that these `Program.arguments` stand for."""
    module = arguments[1:] if arguments[0] == "-m" else None
    parser = argparse.ArgumentParser()
    return find(argparse.Namespace(module=module, program=arguments, parser=parser))


def _script(options: argparse.Namespace) -> Program:
    given = options.program[0]
    path = os.path.abspath(given)
    if not os.path.exists(path):
        refuse(options, f"there is no file {given}")
    if not os.path.isfile(path):
        refuse(options, f"{given} is no file: name the script to run")
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        refuse(options, f"cannot read {given}: {error.strerror}")
    except (SyntaxError, ValueError) as error:  # ValueError: bytes that are no text
        reason = "".join(format_exception_only(error)).rstrip()
        refuse(options, f"{given} is no Python program:\n{reason}")
    return Program(code, options.program, os.path.dirname(os.path.realpath(path)))


def _module(options: argparse.Namespace) -> Program:
    name = options.module[0]
    here = os.getcwd()
    try:
        with _first_on_path(here):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.submodule_search_locations is not None:
                spec = importlib.util.find_spec(f"{name}.__main__")
                if spec is None:
                    refuse(options, f"-m {name}: a package without __main__ cannot run")
        code = None
        if spec is not None and isinstance(spec.loader, importlib.abc.InspectLoader):
            code = spec.loader.get_code(spec.name)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        reason = "".join(format_exception_only(error)).rstrip()
        refuse(options, f"-m {name}: {reason}")
    if code is None:
        refuse(options, f"-m {name}: there is no such module from here ({here})")
    return Program(code, [code.co_filename, *options.module[1:]], here, spec)


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """In place of what Python put there for the shapetrace command itself."""
    before = sys.path[:]
    if not sys.flags.safe_path:
        sys.path[0] = folder
    try:
        yield
    finally:
        sys.path[:] = before
