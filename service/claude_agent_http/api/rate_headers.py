"""How callers are told where they stand: `draft-ietf-httpapi-ratelimit-headers-10`."""

from claude_agent_http.domain.rate import Standing

__all__ = ["rate_headers"]


def rate_headers(standing: Standing) -> dict[str, str]:
    policy = standing.policy
    more = "" if standing.more is None else f";t={standing.more}"
    return {
        "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.window}',
        "RateLimit": f'"{policy.name}";r={standing.remaining}{more}',
    }
