"""The blocks of a figure: which of them are seen at once, what is behind a click, and how many pictures succeeded."""

SCREEN, PAGE_WIDTH = 500, 790  # pixels: what a figure shows of its blocks at once, on a desktop
WIDE = 704  # pixels: how wide a wide picture is in a row, as in report.css
FEW_ROWS, FEW_FLIPS = 3, 2


def states(panels):
    """The panels of a scrub or flip by state, in order: [(state, [panel])]."""
    groups = {}
    for panel in panels:
        groups.setdefault(panel["state"], []).append(panel)
    return list(groups.items())


def is_wide(panel):
    """Whether a panel's picture, like a strip of digits, needs a line of its own."""
    return panel["width"] > 1.6 * panel["height"]


def fold(figure):
    """The blocks of a figure that are seen at once, and those behind a click: grids, rows and charts that do not fit half a screen any
    more, but for the first block, and the first that is no row, since a row often is what the others start from; and of many judged
    samples, which are alike, those that do not. Both as [(number of the block, block, its first panel, the one after its last)]."""
    open_, folded, height = [], [], 0
    first = next((i for i, block in enumerate(figure.blocks) if block["layout"] != "row"), 0)
    for number, block in enumerate(figure.blocks):
        count = len(block["panels"])
        height += _height(block)
        if number not in (0, first) and height > SCREEN and block["layout"] in ("grid", "row", "chart"):
            folded.append((number, block, 0, count))
            continue
        seen = _seen(block)
        open_.append((number, block, 0, seen))
        if seen < count:
            folded.append((number, block, seen, count))
    return open_, folded


def _seen(block):
    """How many panels of a block are seen at once: of judged samples those of the rows that fit, or of two flips."""
    count = len(block["panels"])
    if not any(panel.get("success") is not None for panel in block["panels"]):
        return count
    if block["layout"] == "flip":
        return sum(len(group) for _, group in states(block["panels"])[:FEW_FLIPS])
    if block["layout"] == "grid" and _height(block) > SCREEN:
        rows = -(-count // block["columns"])
        return min(count, max(FEW_ROWS, int(SCREEN // (_height(block) / rows))) * block["columns"])
    return count


def _height(block):
    """About how many pixels high a block is on a desktop; two charts stand side by side."""
    panels, columns = block["panels"], block.get("columns", 1)
    match block["layout"]:
        case "grid":
            largest = 240 if "rows" not in block else 160 if columns <= 5 else PAGE_WIDTH
            tallest = max(panel["height"] / panel["width"] for panel in panels)
            return -(-len(panels) // columns) * (min(largest, PAGE_WIDTH / columns) * tallest + 35)
        case "flip":
            return 330 * -(-len(states(panels)) // 2)
        case "row":
            wide = [WIDE * panel["height"] / panel["width"] + 35 for panel in panels if is_wide(panel)]
            return sum(wide) + 150 * -(-(len(panels) - len(wide)) // 5)
        case "chart":
            return 230
        case _:
            return 380


def block_name(block):
    """What is behind a click, in a few words."""
    return (
        block.get("title") or {"chart": "a chart", "scrub": "step by step"}.get(block["layout"], "pictures")
    ).rstrip(".")


def tally(block):
    """How many of a block's pictures succeeded, and how many were judged. A flip's picture succeeds in all its readings."""
    groups = (
        [group for _, group in states(block["panels"])] if block["layout"] == "flip" else [[p] for p in block["panels"]]
    )
    found = [[panel["success"] for panel in group if panel.get("success") is not None] for group in groups]
    judged = [all(group) for group in found if group]
    return sum(judged), len(judged)
