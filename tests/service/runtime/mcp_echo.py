"""A stdio MCP server with one tool, which says its argument and an environment variable back."""

import os

from mcp.server.mcpserver import MCPServer

server = MCPServer("echo")


@server.tool()
def say(text: str) -> str:
    return f"{text} {os.environ.get('ECHO_SECRET', '')}"


if __name__ == "__main__":
    server.run()
