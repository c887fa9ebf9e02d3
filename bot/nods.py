"""A yes, a no or a thumb: a message that may answer something, and says nothing by itself."""

from __future__ import annotations

import re
from typing import Final

_YES_OR_NO: Final = (
    "yes yep yeah yup ok okay k sure fine good great nice perfect cool agreed lgtm approve approved accept "
    "accepted confirm confirmed allow allowed merge land ship release go ahead do it that looks look sounds to me "
    "please pls now thanks thank you thx +1 -1 no nope nah not deny denied reject rejected "
    "ja jo passt genehmigt danke nein oui merci non si sí vale да нет 好 好的 可以 同意 不 不行 はい "
    "نعم تمام موافق لا"
)
_NODS: Final = frozenset(_YES_OR_NO.split())

_SHORTCODE = re.compile(r":[a-z0-9_+'-]+:")
"""How Slack writes an emoji."""


def is_nod(text: str) -> bool:
    """Whether it is nothing but a yes or a no, or has no words at all: a thumb."""
    worded = _SHORTCODE.sub(" ", text.casefold())
    said = re.findall(r"[+-]1\b|[^\W\d_]+", worded)
    return len(said) <= 6 and _NODS.issuperset(said) and (bool(said) or not re.search(r"\w", worded))
