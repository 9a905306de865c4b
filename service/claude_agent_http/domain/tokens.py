"""Tokens of a model, counted by kind as its API does."""

__all__ = ["TokenCounts"]


class TokenCounts:
    """What can be said of whatever counts them, of a turn or of a day."""

    __slots__ = ()
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int

    @property
    def tokens(self) -> int:
        """All of them, of whatever kind."""
        return self.limited_tokens + self.cache_read_input_tokens

    @property
    def limited_tokens(self) -> int:
        """As the model API's own limits have it: what is read from its cache is left out."""
        return self.input_tokens + self.output_tokens + self.cache_creation_input_tokens
