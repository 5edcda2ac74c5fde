"""Text from servers, certificates and file systems, made safe to show to people."""


def readable(text: str) -> str:
    """Any text of a server or file system, safe to show: unprintable characters are written as escapes."""
    decoded = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in decoded
    )
