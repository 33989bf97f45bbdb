"""BUILD names every module and every test once, with the imports that they really have.

After a change of modules or imports, write it anew:

    python tests/test_build_file.py
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "BUILD"
PACKAGE = "estimator_ckpt"
RUNNER = "tests/pytest_main.py"

HEADER = '''\
"""One target a module and a test, named as Python names it.

Third-party packages come from the interpreter that Bazel uses (setup.py lists them). Written by
`python tests/test_build_file.py`, which as a test compares it with the imports.
"""

package(default_visibility = ["//visibility:public"])

licenses(["notice"])

exports_files(["LICENSE"])

# What tests read besides code.
filegroup(
    name = "test_data",
    testonly = True,
    srcs = [
        "BUILD",
        "pyproject.toml",
    ] + glob(
        [
            "configs/**",
            "docs/**",
            "tests/**",
            "*.md",
        ],
        exclude = ["**/*.py"],
    ),
)
'''


@dataclasses.dataclass(frozen=True)
class Target:
    """A rule of the BUILD file; what is empty is not written."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    testonly: bool = False
    args: tuple[str, ...] = ()
    main: str = ""
    data: tuple[str, ...] = ()


def test_build_file_is_what_the_tree_gives():
    assert BUILD.read_text(encoding="utf-8") == build_text(), (
        "BUILD differs from the modules and their imports; run `python tests/test_build_file.py`"
    )


def test_every_module_and_test_is_in_one_target():
    listed = [src for target in read_targets() for src in target.srcs if src != RUNNER]
    assert sorted(listed) == sorted(src for src in source_files() if src != RUNNER)


def test_every_dependency_is_a_target():
    names = {target.name for target in read_targets()}
    wanted = {dep for target in read_targets() for dep in target.deps}
    assert {dep for dep in wanted if dep[1:] not in names} == set()


def test_dependencies_have_no_cycle():
    deps = {":" + target.name: target.deps for target in read_targets()}
    done: set[str] = set()

    def visit(label: str, path: tuple[str, ...]) -> None:
        assert label not in path, " -> ".join((*path, label))
        if label not in done:
            for dep in deps[label]:
                visit(dep, (*path, label))
            done.add(label)

    for label in deps:
        visit(label, ())


def read_targets() -> list[Target]:
    """The rules in BUILD, which is valid Python."""
    targets = []
    for statement in ast.parse(BUILD.read_text(encoding="utf-8")).body:
        call = getattr(statement, "value", None)
        if isinstance(call, ast.Call) and call.func.id.startswith("py_"):
            values = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            targets.append(
                Target(
                    rule=call.func.id,
                    name=values["name"],
                    srcs=tuple(values.get("srcs", ())),
                    deps=tuple(values.get("deps", ())),
                )
            )
    return targets


def source_files() -> list[str]:
    """Every Python file of the package and of the tests, relative to the checkout."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in (PACKAGE, "tests")
        for path in (ROOT / folder).rglob("*.py")
    )


def module_name(src: str) -> str:
    return src[: -len(".py")].replace("/", ".").removesuffix(".__init__")


def build_text() -> str:
    """What BUILD should be."""
    sources = {module_name(src): src for src in source_files()}
    return "\n".join([HEADER, *(written(target(name, sources)) for name in sorted(sources))])


def target(name: str, sources: dict[str, str]) -> Target:
    """The rule for one file."""
    src = sources[name]
    tree = ast.parse((ROOT / src).read_text(encoding="utf-8"))
    is_init = src.endswith("__init__.py")
    used = imported(tree, sources, lazily=is_init) - {name}
    if pathlib.PurePosixPath(src).name.startswith("test_"):
        # pytest runs the tests in a file; as a script, the file would do nothing and pass.
        used |= {module_name(conftest) for conftest in conftests(src)}
        return Target(
            "py_test",
            name,
            tuple(sorted((src, RUNNER))),
            labels(used),
            args=(src,),
            main=RUNNER,
            data=(":test_data",),
        )
    if src.startswith("tests/"):
        return Target("py_library", name, (src,), labels(used), testonly=True)
    if is_program(tree):
        return Target("py_binary", name, (src,), labels(used), main=src)
    return Target("py_library", name, (src,), labels(used))


def labels(names: set[str]) -> tuple[str, ...]:
    return tuple(f":{name}" for name in sorted(names))


def conftests(src: str) -> list[str]:
    """What pytest loads before a test: each conftest.py from its folder up."""
    folders = pathlib.PurePosixPath(src).parents
    candidates = [(folder / "conftest.py").as_posix() for folder in folders]
    return [candidate for candidate in candidates if (ROOT / candidate).exists()]


def is_program(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        for node in tree.body
    )


def imported(tree: ast.Module, sources: dict[str, str], lazily: bool) -> set[str]:
    """The modules of ours that a file imports, wherever in the file it does.

    An import for type checkers only is none. An `__init__` that resolves its names lazily depends
    on all that it names, be it for type checkers or as text.
    """
    found = set()
    for node in walk(tree, type_checking=lazily):
        if lazily and isinstance(node, ast.Constant):
            found |= {node.value} & sources.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in sources}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in sources else node.module)
    return found & set(sources)


def walk(node: ast.AST, type_checking: bool) -> Iterator[ast.AST]:
    """As ast.walk, but leaves out `if TYPE_CHECKING:` unless told otherwise."""
    yield node
    skipped = () if type_checking or not is_type_checking(node) else node.body
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from walk(child, type_checking)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def written(rule: Target) -> str:
    """A rule as buildifier would write it."""
    keys = ("name", "testonly", "srcs", "args", "data", "main", "deps")
    fields = {key: getattr(rule, key) for key in keys}
    lines = [f"    {key} = {literal(value)}," for key, value in fields.items() if value]
    return "\n".join([f"{rule.rule}(", *lines, ")", ""])


def literal(value: object) -> str:
    if isinstance(value, tuple) and len(value) > 1:
        return "[\n" + "".join(f'        "{item}",\n' for item in value) + "    ]"
    if isinstance(value, tuple):
        return f'["{value[0]}"]'
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    BUILD.write_text(build_text(), encoding="utf-8")
