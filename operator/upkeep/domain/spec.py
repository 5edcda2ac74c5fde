"""Says what is wrong with a spec in words for the person who wrote it."""

from pydantic import ValidationError


def explain(problem: ValidationError) -> str:
    """One sentence: where it is wrong, and how; the first of several, with their number."""
    errors = problem.errors(include_url=False, include_input=False)
    first = errors[0]
    place = ".".join(str(part) for part in ("spec", *first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {message}{more}"
