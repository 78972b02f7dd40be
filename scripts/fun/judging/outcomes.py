"""How often pictures with several readings show all of them, one, or none."""

from collections.abc import Sequence

from fun.judging.scores import rate

Rights = Sequence[bool | None]  # N: whether each picture reads as it should; None if no judge can tell


def outcomes(names: Sequence[str], rights: Sequence[Rights], short: Sequence[str] | None = None) -> list[dict]:
    """How pictures of R readings come out, as metrics: the rate of each reading; of all at once, of only one of two (of more:
    some), and of none. These add up to 1, over the pictures that can be judged in all their readings.

    Args:
        names: of the readings, R.
        rights: R times N.
        short: the readings' short names, if no two are equal.

    What stands at the top of a figure has an "outcome", its name there.
    """
    short = short if short and len(set(short)) == len(short) else names
    pair = len(names) == 2
    singles = []
    for name, called, right in zip(names, short, rights, strict=True):
        judged = [one for one in right if one is not None]
        at_top = {} if pair else {"outcome": called}
        if judged:
            singles.append({"name": name, "goal": "higher"} | at_top | rate(sum(judged), len(judged)))
    found = [sum(readings) for readings in zip(*rights, strict=True) if None not in readings]
    if not found:
        return singles

    def share(name, outcome, count, **goal):
        return {"name": name, "outcome": outcome} | goal | rate(count, len(found))

    every = share("all readings at once", "both" if pair else "all", found.count(len(names)), goal="higher")
    if pair:
        only = [
            sum(one is True and other is False for one, other in zip(*two, strict=True))
            for two in (rights, rights[::-1])
        ]
        some = [share(f"only {name}", f"only {name}", count) for name, count in zip(short, only, strict=True)]
    else:
        some = [share("some readings", "some, not all", len(found) - found.count(len(names)) - found.count(0))]
    none = share("no reading", "neither" if pair else "none", found.count(0), goal="lower")
    return [*singles, every, *some, none]
