"""A stand-in for the CLI that speaks enough of its protocol to misbehave; a file `how` beside it says how."""

import json
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    how = Path(sys.argv[0]).with_name("how").read_text()
    print(f"stand-in starts: {how}, key {os.environ.get('ANTHROPIC_API_KEY')}", file=sys.stderr, flush=True)
    if how == "exits":
        sys.exit(9)
    if how == "silent":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait()  # A CLI that hangs, until it is killed.
    if how == "stays":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        answer(json.loads(line), how)
    if how == "stays":
        threading.Event().wait()  # A CLI that does not end when its input does.


def answer(message: dict, how: str) -> None:
    if message["type"] == "control_request":
        supported = {"hook_on_failure_supported": True}
        response = {"subtype": "success", "request_id": message["request_id"], "response": supported}
        say({"type": "control_response", "response": response})
    elif message["type"] == "user":
        misbehave(how, message["uuid"])


def misbehave(how: str, uuid: str) -> None:
    match how:
        case "floods":
            assistant(uuid, "x" * 5_000_000)
            result(uuid)
        case "nests":
            say({"type": "assistant", "message": {}, "nested": [[[]] * 500] * 8_000})
            result(uuid)
        case "cuts":
            sys.stdout.write('{"type": "assistant", "mess')
            sys.stdout.flush()
            sys.exit(0)
        case "garbage":
            print("{this is no JSON}", flush=True)
        case "noise":
            print("\x00\xff some debug output\n\n[1, 2]", flush=True)
            say({"type": "a_type_of_the_future", "uuid": uuid})
            assistant(uuid, "hello")
            result(uuid)
        case "malformed":
            say({"type": "assistant", "message": {"content": 5}})
        case "leaves":
            sys.exit(0)
        case "strays":
            assistant("other", "not yours")
            result("other", origin={"kind": "task-notification"})
            assistant(uuid, "yours")
            result(uuid)
        case _:
            assistant(uuid, "hello")
            result(uuid)


def assistant(uuid: str, text: str) -> None:
    message = {"id": "msg_1", "model": "stand-in", "content": [{"type": "text", "text": text}]}
    say({"type": "assistant", "message": message, "user_message_uuids": [uuid]})


def result(uuid: str, **more: object) -> None:
    numbers = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "usage": {"input_tokens": 1}}
    ending = {"subtype": "success", "is_error": False, "session_id": "s", "user_message_uuids": [uuid]}
    say({"type": "result", **numbers, **ending, **more})


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
