"""Text from outside in Markdown: escaped, so that it is never a tag, a link or a table's cell."""

import re

from kdsearch.names import visible

# What CommonMark and GitHub's tables, tags, links and mentions are made of. A backslash before it makes it
# a letter; _ is one within a word, and full stops and colons but where GitHub links a bare address.
MARKUP = re.compile(r"[\\`*{}\[\]<>#!|~&@$^]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=//)", re.IGNORECASE)


def escaped(text: str) -> str:
    """`text` as Markdown that renders as `text`, within one line; what is not seen is shown as an escape."""
    return MARKUP.sub(r"\\\g<0>", visible(text))
