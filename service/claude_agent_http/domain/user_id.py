"""The form of a user's id: it names folders, and stands in addresses and logs."""

import re

__all__ = ["USER_ID_FORM", "USER_ID_MAX", "USER_ID_PATTERN", "is_user_id"]

USER_ID_MAX = 64
USER_ID_PATTERN = r"^[A-Za-z0-9_-]+$"
USER_ID_FORM = f"1 to {USER_ID_MAX} letters, digits, `_` and `-`"
"""The same for people."""
_FORM = re.compile(rf"[A-Za-z0-9_-]{{1,{USER_ID_MAX}}}")


def is_user_id(text: str) -> bool:
    return _FORM.fullmatch(text) is not None
