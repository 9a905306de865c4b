"""The demo model: a scripted Anthropic Messages API, for people with no key and for tests."""
