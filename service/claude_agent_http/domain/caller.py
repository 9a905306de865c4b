"""Who asks, and for whom that one may act."""

from dataclasses import dataclass

__all__ = ["EVERYONE", "Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`user_id` is the user that the caller is, None for a program that is none. One who acts for any user
    reaches everybody's sessions; an admin manages keys and erases users, and reads nobody's sessions by that.

    `credential` is how logs and the audit name what the caller showed: `key:ID`, `file:NAME` or
    `oidc:SUBJECT`; None where nothing is asked for.
    """

    user_id: str | None = None
    acts_for_any: bool = False
    is_admin: bool = False
    credential: str | None = None

    def may_act_for(self, user_id: str) -> bool:
        """Whether what belongs to that user is open to the caller."""
        return self.acts_for_any or self.user_id == user_id

    def may_erase(self, user_id: str) -> bool:
        """Whether the caller may have everything of that user removed."""
        return self.is_admin or self.may_act_for(user_id)


EVERYONE = Caller(acts_for_any=True, is_admin=True)
"""Whoever reaches a service that asks for no credential."""
