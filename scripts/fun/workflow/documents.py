"""YAML files as people write them: a name that stands twice is an error, and what was typed can be told."""

from collections.abc import Iterable
from pathlib import Path

import yaml

MERGE = "tag:yaml.org,2002:merge"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML's own, which says where it stumbled over a text that looks like a date or a number and is none (2026-13-45)."""

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            said = f"{node.value[:60]} is no date or number ({error}): if it is text, put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error


class Document:
    """A YAML file.

    Args:
        path: of the file.
        name: of the file, for messages.

    Raises:
        ValueError: the file cannot be read, or a name stands twice in one mapping, where YAML would forget the first one; the
            message has the line.
    """

    def __init__(self, path: Path, name: str):
        self.name = name
        try:
            text = path.read_text(encoding="utf-8")
            self._node = yaml.compose(text, Loader)
            self.content = yaml.load(text, Loader)  # noqa: S506 (a safe loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            said = " ".join(str(error).split()).replace(' in "<unicode string>"', "")
            raise ValueError(f"{name} cannot be read: {said}") from error
        for first, second in _twice(self._node):
            raise ValueError(
                f"{name}, line {second.start_mark.line + 1}: {second.value} stands a second time in the same place (first in "
                f"line {first.start_mark.line + 1}): rename or remove one of the two"
            )

    def has(self, way: Iterable[str | int]) -> bool:
        """Whether there is such an entry."""
        inside = self.content
        for part in way:
            try:
                inside = inside[part]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def typed(self, way: Iterable[str | int]) -> str | None:
        """What was typed at an entry, before YAML made a number, a date or a truth of it; None if it is no single value."""
        node = self._node
        for part in way:
            inside = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.SequenceNode):
                inside = enumerate(inside)
            else:
                inside = ((key.value, value) for key, value in inside)
            node = next((value for key, value in inside if key == part), None)
        return node.value if isinstance(node, yaml.ScalarNode) else None


def _twice(node):
    """Yield (key, key) for names that stand twice in one mapping; what comes in by a merge key may be given again."""
    todo, seen = [node], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            keys = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                    first = keys.setdefault((key.tag, key.value), key)
                    if first is not key:
                        yield first, key
                todo.append(value)
