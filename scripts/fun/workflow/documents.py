"""YAML files as people write them: a name that stands twice is an error, and what was typed can be told."""

from collections.abc import Iterable
from pathlib import Path

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"


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
        try:
            text = path.read_text(encoding="utf-8")
            self._node = yaml.compose(text, Loader)
            self.content = yaml.load(text, Loader)  # noqa: S506 (a safe loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{name} cannot be read: {' '.join(str(error).split())}") from error
        for first, second in _twice(self._node):
            raise ValueError(
                f"{name}, line {second.start_mark.line + 1}: {second.value} stands a second time in the same place (first in "
                f"line {first.start_mark.line + 1}): rename or remove one of the two"
            )

    def typed(self, way: Iterable[str | int]) -> str | None:
        """What was typed at an entry, before YAML made a number, a date or a truth of it; None if it is no single value."""
        node = self._node
        for part in way:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == part), None)
            elif isinstance(node, yaml.SequenceNode):
                node = node.value[part]
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
