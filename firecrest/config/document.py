"""A YAML file as plain data that still knows where every key was written.

Every problem becomes a line ``file:line: dotted.key: message``. No message shows a value,
because a value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from firecrest.errors import ConfigError

_QUOTED = re.compile("'.*'|\".*\"", re.DOTALL)
_SCALARS = (str, int, float, bool, type(None))


class _Loader(yaml.CSafeLoader):
    """The safe loader, for which a date is text: no setting is one, builds look like one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (declared so by PyYAML)
        first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read_text(path: Path) -> str:
    """The text of a file that people write; some editors begin it with a byte order mark.

    :raises ConfigError: it cannot be read, or is not UTF-8
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None


class Document:
    """The data of a YAML file, with overrides and references applied.

    :ivar data: mappings, lists and scalars
    :ivar problems: what is wrong so far, a line each
    """

    def __init__(self, path: Path) -> None:
        self.data: dict[str, Any] = {}
        self.problems: list[str] = []
        self._path = path
        self._places: dict[str, str] = {"": str(path)}
        self._broken: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse a file; keys given twice become problems.

        :raises ConfigError: if it cannot be read or is not a YAML mapping
        """
        return cls.of_text(read_text(path), path)

    @classmethod
    def of_text(cls, text: str, path: Path) -> Document:
        """Parse what is, or will be, in a file; otherwise like :meth:`read`."""
        document = cls(path)
        data = document._parse(text)
        if document.problems:
            raise ConfigError(document.problems)
        if not isinstance(data, dict):
            raise ConfigError([f"{path}: not a mapping of keys to values"])
        document.data = data
        return document

    def override(self, assignment: str) -> None:
        """Set one key: ``dotted.key=value``, the value in YAML, list members by position."""
        key, equals, text = assignment.partition("=")
        if not key or not equals:
            self.problems.append("--set: not of the form key=value")
            return
        value = Document(Path("--set"))
        parsed = value._parse(text)
        if value.problems:
            self.problems.append(f"--set: {key}: not valid YAML")
            return
        parent, last = self._parent(key)
        if parent is None:
            self.problems.append(f"--set: {key}: there is no such place")
            return
        parent[last] = parsed
        self._places = {k: v for k, v in self._places.items() if not k.startswith(f"{key}.")}
        self._places[key] = "--set"

    def resolve(self, environ: Mapping[str, str]) -> None:
        """Replace every ``{env: NAME}`` and ``{file: PATH}`` by what it refers to."""
        self.data = self._resolved(self.data, "", environ)

    def complain(self, key: str, message: str) -> None:
        """Note a problem, unless what is wrong with that key has been said already.

        :param key: dotted key; its line, or else that of what contains it, is named
        """
        if key in self._broken:
            return
        place = key
        while place not in self._places:
            place = place.rpartition(".")[0]
        self.problems.append(f"{self._places[place]}: {key}: {message}" if key else message)

    def _parse(self, text: str) -> Any:
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            return {} if node is None else self._plain(loader, node, "", frozenset())
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            # PyYAML quotes what it found, and that may be half a secret.
            reason = _QUOTED.sub("…", error.problem or "not valid YAML")
            self.problems.append(f"{self._path}{line}: {reason}")
        except yaml.YAMLError:
            self.problems.append(f"{self._path}: a character YAML does not allow")
        except RecursionError:
            self.problems.append(f"{self._path}: nested too deeply")
        return {}

    def _plain(self, loader: _Loader, node: yaml.Node, key: str, above: frozenset[int]) -> Any:
        """Turn a node into data, and note the lines of its keys.

        :param above: nodes this one is inside of: an alias may refer to one of them
        """
        place = f"{self._path}:{node.start_mark.line + 1}"
        self._places.setdefault(key, place)
        if id(node) in above:
            self.problems.append(f"{place}: {key}: an alias that contains itself")
            return None
        inside = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, key, inside)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._plain(loader, member, _join(key, str(position)), inside)
                for position, member in enumerate(node.value)
            ]
        try:
            value = loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError):
            value = b""  # like every other value of a kind no setting has
        if not isinstance(value, _SCALARS):
            self.problems.append(f"{place}: {key}: not a text, number, boolean or null")
        return value

    def _mapping(
        self, loader: _Loader, node: yaml.MappingNode, key: str, inside: frozenset[int]
    ) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, member in node.value:
            place = f"{self._path}:{name.start_mark.line + 1}"
            if not isinstance(name, yaml.ScalarNode):
                self.problems.append(f"{place}: {_join(key, '?')}: a key must be a text")
                continue
            inner = _join(key, name.value)
            if name.value in data:
                self.problems.append(f"{place}: {inner}: given twice, see {self._places[inner]}")
                continue
            self._places[inner] = place
            data[name.value] = self._plain(loader, member, inner, inside)
        return data

    def _parent(self, key: str) -> tuple[Any, Any]:
        """Find the mapping or list that holds ``key``, and the index in it.

        Mappings on the way are made; where there is no such place the first is ``None``.
        """
        *way, last = key.split(".")
        node: Any = self.data
        for depth, step in enumerate(way, start=1):
            if isinstance(node, dict):
                self._places.setdefault(".".join(way[:depth]), "--set")
                node = node.setdefault(step, {})
            else:
                position = _position(node, step)
                node = None if position is None else node[position]
        if isinstance(node, dict):
            return node, last
        position = _position(node, last)
        return (None, None) if position is None else (node, position)

    def _resolved(self, value: Any, key: str, environ: Mapping[str, str]) -> Any:
        if isinstance(value, list):
            return [
                self._resolved(member, _join(key, str(position)), environ)
                for position, member in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (kind, target), *_ = value.items()
            if kind in ("env", "file") and isinstance(target, str):
                return self._referred(kind, target, key, environ)
        return {
            name: self._resolved(member, _join(key, name), environ)
            for name, member in value.items()
        }

    def _referred(self, kind: str, target: str, key: str, environ: Mapping[str, str]) -> str:
        if kind == "env":
            if target in environ:
                return environ[target]
            problem = f"environment variable {target} is not set"
        else:
            file = self._path.absolute().parent / target
            try:
                return file.read_text(encoding="utf-8").strip()
            except OSError as error:
                problem = f"{file}: {error.strerror}"
            except ValueError:  # not UTF-8, or a NUL in the name
                problem = f"{file}: not a text file"
        self.complain(key, problem)
        self._broken.add(key)
        return ""


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _position(node: Any, step: str) -> int | None:
    if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
        return int(step)
    return None
