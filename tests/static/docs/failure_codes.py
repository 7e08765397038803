"""Every failure code that the code can give, read from its syntax trees: nothing is imported, nothing is run.

A code is given where a value becomes the `code` of something: an argument `code=`, the place of a dataclass's field
`code`, a `default_code`, a `"code"` of a dictionary. From there the walk goes back through names, tables of tuples,
conditions, f-strings and parameters to the texts. The exit code that goes with it is read beside it. What the walk
cannot follow it reports, so that no code escapes it.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from productive_k3s.contract.exit_code import ExitCode

# What carries a code without saying how the program ends: mistakes of the cluster file, causes and troubles of a host.
_EXITS = {"Mistake": 2, "Objection": 2, "ClusterFileInvalid": 2, "Cause": 5, "Trouble": 5}
# Where a Failure has its exit code, and which one if it names none.
_EXIT_POSITION = 4
_DEFAULT_EXIT = 5
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Parameter:
    """A part of a code that is whatever callers of the function give."""

    name: str


Pieces = tuple["str | Parameter", ...]


@dataclass
class Module:
    """One file: its tree, what it defines, and where its imported names come from."""

    name: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def function_around(self, node: ast.AST) -> Function | None:
        """Return the function that the node stands in."""
        while (parent := self.parents.get(node)) is not None:
            if isinstance(parent, Function):
                return parent
            node = parent
        return None


def read_modules(source: Path) -> dict[str, Module]:
    """Parse every file below `source`."""
    modules = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        module = Module(name, ast.parse(path.read_text(encoding="utf-8")))
        for node in ast.walk(module.tree):
            module.parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))
            if isinstance(node, ast.ImportFrom) and node.module:
                module.imports.update({item.asname or item.name: f"{node.module}.{item.name}" for item in node.names})
            elif isinstance(node, Function):
                module.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                module.classes[node.name] = node
        for statement in module.tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], value=value):
                    module.constants[target] = value
                case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                    module.constants[target] = value
        modules[name] = module
    return modules


class Walk:
    """The codes of all modules. `lost` names the places whose code could not be followed."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self._modules = modules
        self._places: set[tuple[str, str, str, Pieces, int | None]] = set()
        self.codes: dict[str, set[str]] = {}
        self.exits: dict[str, set[int]] = {}
        self.lost: set[str] = set()
        self._positions = dict(_code_fields(modules))
        self._calls: dict[tuple[str, str], list[tuple[Module, ast.Call]]] = {}
        for module in modules.values():
            for node in module.parents:
                if isinstance(node, ast.Call):
                    self._calls.setdefault(self._target(module, node.func), []).append((module, node))
        for module in modules.values():
            for given, exit_code in self._given(module):
                self._take(module, given, exit_code)

    def _given(self, module: Module) -> Iterator[tuple[ast.expr, int | None]]:
        """Yield what becomes a code, with the exit code that goes with it; None where another place says that."""
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=function, args=arguments, keywords=keywords):
                    named = [item.value for item in keywords if item.arg == "code"]
                    position = self._position(module, function)
                    placed = arguments[position : position + 1] if position is not None else []
                    for given in (*named, *placed):
                        yield given, self._exit_of_call(module, node)
                case ast.Assign(targets=[ast.Name(id="default_code")], value=value):
                    yield value, self._exit_of_class(module.parents[node])
                case ast.AnnAssign(target=ast.Name(id="default_code" | "code"), value=ast.expr() as value):
                    yield value, self._exit_of_class(module.parents[node])
                case ast.Dict(keys=keys, values=values):
                    fields = {_text(key): value for key, value in zip(keys, values, strict=True)}
                    if "code" in fields:
                        yield fields["code"], _number(fields.get("exit_code"))

    def _position(self, module: Module, function: ast.expr) -> int | None:
        """Return where a call has its code: two modules may have a class of one name."""
        target = self._target(module, function)
        others = (position for (_, name), position in self._positions.items() if name == target[1])
        return self._positions.get(target, next(others, None))

    def _exit_of_call(self, module: Module, call: ast.Call) -> int | None:
        name = self._target(module, call.func)[1]
        if name == "Failure":
            written = _argument(call, _EXIT_POSITION, "exit_code")
            return _DEFAULT_EXIT if written is None else _number(written)
        if name in _EXITS:
            return _EXITS[name]
        if name.endswith("Meaning"):
            # It names its exception, or all of its table are that of a provider.
            first = ast.unparse(call.args[0]) if call.args else ""
            name = first if self._class(first) else "ProviderFailed"
        return self._exit_of_class(self._class(name) or self._class(self._one_of(module, call, name)))

    def _one_of(self, module: Module, call: ast.Call, name: str) -> str:
        """Return a class that a local name stands for: `kind = Some if ... else Other`."""
        for node in ast.walk(module.function_around(call) or module.tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=target)], value=ast.IfExp(body=ast.Name(id=found))) if (
                    target == name
                ):
                    return found
        return name

    def _class(self, name: str) -> ast.ClassDef | None:
        return next((module.classes[name] for module in self._modules.values() if name in module.classes), None)

    def _exit_of_class(self, found: ast.AST | None) -> int | None:
        """Return the `exit_code` of an exception's class or of what it is derived from."""
        while isinstance(found, ast.ClassDef):
            if found.name in _EXITS:
                return _EXITS[found.name]
            for item in found.body:
                match item:
                    case ast.Assign(targets=[ast.Name(id="exit_code")], value=value):
                        return _number(value)
                    case ast.AnnAssign(target=ast.Name(id="exit_code"), value=ast.expr() as value):
                        return _number(value)
            found = self._class(ast.unparse(found.bases[0])) if found.bases else None
        return None

    def _target(self, module: Module, function: ast.expr) -> tuple[str, str]:
        """Return the module and the name of what is called."""
        match function:
            case ast.Name(id=name) if name in module.imports:
                home, _, original = module.imports[name].rpartition(".")
                return home, original
            case ast.Name(id=name):
                return module.name, name
            case ast.Attribute(value=ast.Name(id=left), attr=name) if left in module.imports:
                return module.imports[left], name
            case ast.Attribute(attr=name):
                return module.name, name
        return "", ""

    def _take(self, module: Module, given: ast.expr, exit_code: int | None) -> None:
        """Note the codes that an expression can be; one that holds a parameter sends the walk to the callers."""
        function = module.function_around(given)
        for pieces in self._texts(module, function, given):
            self._note(module, function, given, pieces, exit_code)

    def _note(
        self, module: Module, function: Function | None, given: ast.expr, pieces: Pieces, exit_code: int | None
    ) -> None:
        names = [piece.name for piece in pieces if isinstance(piece, Parameter)]
        if names and function is not None:
            self._ask_callers(module, function, names[0], pieces, exit_code)
        elif code := "".join(map(str, pieces)):
            self.codes.setdefault(code, set()).add(f"{module.name}:{given.lineno}")
            self.exits.setdefault(code, set()).update(() if exit_code is None else (exit_code,))

    def _ask_callers(self, home: Module, function: Function, name: str, pieces: Pieces, exit_code: int | None) -> None:
        if (key := (home.name, function.name, name, pieces, exit_code)) in self._places:
            return
        self._places.add(key)
        names = [item.arg for item in (*function.args.posonlyargs, *function.args.args) if item.arg != "self"]
        position = names.index(name) if name in names else None
        for module, call in self._calls.get((home.name, function.name), ()):
            given = _argument(call, position, name)
            if given is None:
                continue
            caller = module.function_around(given)
            for value in self._texts(module, caller, given):
                filled = itertools.chain(*(value if item == Parameter(name) else (item,) for item in pieces))
                self._note(module, caller, given, tuple(filled), exit_code)

    def _texts(self, module: Module, function: Function | None, given: ast.expr) -> Iterator[Pieces]:
        """Yield what an expression can be."""
        match given:
            case ast.Constant(value=str() as text):
                yield (text,)
            case ast.Constant(value=None):
                return
            case ast.IfExp(body=one, orelse=other):
                yield from self._texts(module, function, one)
                yield from self._texts(module, function, other)
            case ast.JoinedStr(values=values):
                parts = [list(self._texts(module, function, item)) for item in values]
                yield from (tuple(itertools.chain(*choice)) for choice in itertools.product(*parts))
            case ast.FormattedValue(value=value):
                yield from self._texts(module, function, value)
            case ast.Attribute(attr="code" | "default_code"):
                return  # it was given to something else before, and counted there
            case ast.Attribute(attr="id") if module.name == "productive_k3s_infra.answers.made":
                return  # a check's, of docs/checks.md and docs/preflight.md
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self._texts(module, function, value)
            case ast.Name(id=name):
                yield from self._named(module, function, name, given)
            case _:
                self.lost.add(f"{module.name}:{given.lineno}: {ast.unparse(given)}")

    def _named(self, module: Module, function: Function | None, name: str, given: ast.expr) -> Iterator[Pieces]:
        found = list(_assigned(function, name)) if function is not None else []
        if found:
            for value, index in found:
                for item in (value,) if index is None else self._elements(module, value, index):
                    yield from self._texts(module, function, item)
        elif function is not None and name in {item.arg for item in _parameters(function)}:
            yield (Parameter(name),)
        elif name in module.constants:
            yield from self._texts(module, None, module.constants[name])
        elif name in module.imports:
            home, _, original = module.imports[name].rpartition(".")
            yield from self._texts(self._modules[home], None, ast.Name(id=original, lineno=given.lineno))
        else:
            self.lost.add(f"{module.name}:{given.lineno}: {name}")

    def _elements(self, module: Module, value: ast.expr, index: int) -> Iterator[ast.expr]:
        """Yield what stands at `index` of the tuples that a value can be: written out, in a table, or returned."""
        match value:
            case ast.Tuple(elts=items):
                yield items[index]
            case ast.Dict(values=values):
                for item in values:
                    yield from self._elements(module, item, index)
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
                function = module.function_around(value)
                inside = [item for item, _ in _assigned(function, name)] if function is not None else []
                for item in inside or [module.constants[name]]:
                    yield from self._elements(module, item, index)
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=arguments):
                for item in (table, *arguments[1:]):
                    yield from self._elements(module, item, index)
            case ast.Call(func=ast.Name(id=name)) if name in module.functions:
                for node in ast.walk(module.functions[name]):
                    if isinstance(node, ast.Return) and node.value is not None:
                        yield from self._elements(module, node.value, index)
            case _:
                self.lost.add(f"{module.name}:{value.lineno}: {ast.unparse(value)}")


def _code_fields(modules: dict[str, Module]) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the classes, by module and name, that take a code by its place: dataclasses with a field `code`."""
    for module in modules.values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and node.decorator_list:
                fields = [ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)]
                if "code" in fields:
                    yield (module.name, node.name), fields.index("code")
    # The loader is one file without imports: its exception carries the fields of a Failure as plain arguments.
    yield ("", "Trouble"), 0


def _text(item: ast.expr | None) -> str:
    return item.value if isinstance(item, ast.Constant) and isinstance(item.value, str) else ""


def _number(item: ast.expr | None) -> int | None:
    if isinstance(item, ast.Attribute) and ast.unparse(item.value) == "ExitCode":
        return int(ExitCode[item.attr])
    return item.value if isinstance(item, ast.Constant) and isinstance(item.value, int) else None


def _parameters(function: Function) -> Iterable[ast.arg]:
    arguments = function.args
    return (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)


def _argument(call: ast.Call, position: int | None, name: str) -> ast.expr | None:
    """Return what a call gives for a parameter. A starred argument is an exception's own, counted where it is made."""
    by_name = next((item.value for item in call.keywords if item.arg == name), None)
    if by_name is not None or position is None or len(call.args) <= position:
        return by_name
    return None if isinstance(call.args[position], ast.Starred) else call.args[position]


def _assigned(function: Function, name: str) -> Iterator[tuple[ast.expr, int | None]]:
    """Yield the values that a function gives to a local name, with the index where a tuple is taken apart."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value, None
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                yield value, None
            case ast.Assign(targets=[ast.Tuple(elts=items)], value=value):
                for index, item in enumerate(items):
                    if isinstance(item, ast.Name) and item.id == name:
                        yield value, index
