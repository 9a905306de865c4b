"""An MCP server that reads for its agent whatever it is asked for."""

from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("files")


@server.tool()
def read(path: str) -> str:
    """The file's text."""
    return Path(path).read_text()


if __name__ == "__main__":
    server.run()
