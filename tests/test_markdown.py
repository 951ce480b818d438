"""Hostile names in Markdown, rendered by a Markdown renderer."""

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kdsearch.names import escaped, visible

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "<http://evil>",
    "a | b | c",
    "`code` **bold** _em_ ~~gone~~",
    "two\nlines\n\n# heading",
    "&lt;b&gt; &amp; &#60;",
    "\\<b>\\",
    "\u202egnp.exe\u2066",
    "\x1b[31mred\x07",
    "caf\udce9",
    "\\",
]
names = st.text(st.characters() | st.sampled_from("<>[]()|`*_~#\\&!\n\r\t\u202e\x1b"), min_size=1)


def text_of(html):
    return unescape(re.sub(r"<[^>]*>", "", html))


@given(names)
def test_an_escaped_text_is_one_cell_that_shows_it(name):
    page = f"| a | b |\n|---|---|\n| x{escaped(name)}x | 1 |\n\nafter {escaped(name)}.\n"
    html = RENDERER.render(page)
    assert set(re.findall(r"</?(\w+)", html)) == {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert html.count("<tr>") == 2
    assert html.count("<td>") == 2
    (cell,) = re.findall(r"<td>(x.*)</td>\n<td>1</td>", html)
    assert text_of(cell) == f"x{visible(name)}x"


for _name in HOSTILE:
    test_an_escaped_text_is_one_cell_that_shows_it = example(_name)(
        test_an_escaped_text_is_one_cell_that_shows_it
    )


@pytest.mark.parametrize("address", ["www.evil.example", "https://evil.example", "me@evil.example"])
def test_a_bare_address_is_no_link_on_github_either(address):
    """Whose renderer makes links of these; each of its rules needs the character behind a backslash."""
    assert "\\" in escaped(address)
    assert text_of(RENDERER.render(escaped(address))).strip() == address
